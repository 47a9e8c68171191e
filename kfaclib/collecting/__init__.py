"""Collecting the factors of a real model: planned, resumable, on several processes."""
