"""Classifiers of images: the edit of a vision transformer."""
