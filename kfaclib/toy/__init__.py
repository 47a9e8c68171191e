"""The small worlds that the course and the defaults of `kfac` run on: a grammar that is told and recited, digits,
modular sums.
"""
