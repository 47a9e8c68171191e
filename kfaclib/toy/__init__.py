"""The small worlds that the course and the defaults of `kfac` run on: a grammar whose passages are
repeated and recited, digits, modular sums.
"""
