"""Figures and widgets in the one style."""
