"""Curvature, K-FAC and the memorization edit: the library behind the course."""

__version__ = "0.1.0"
