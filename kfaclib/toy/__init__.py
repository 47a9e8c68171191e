"""The small worlds and models that the course and the defaults of `kfac` run on: a grammar with repeated passages,
handwritten digits, addition modulo a prime.
"""
