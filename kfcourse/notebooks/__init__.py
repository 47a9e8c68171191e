"""Notebooks as files: read, executed, taken apart."""
