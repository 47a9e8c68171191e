"""Image classifiers: the memorization edit of a vision transformer."""
