"""Chapter 19, the capstone: its starting code, checks, figures and questions."""

ROUTES = ("build it", "prove it")  # the routes that lead here
