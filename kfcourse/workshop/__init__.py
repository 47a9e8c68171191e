"""The three-hour workshop: its notebooks, its timings, its offline bundle."""
