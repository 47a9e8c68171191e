"""Chapter 12: its checks, figures and variants."""

ROUTES = ("see it", "prove it")  # the routes that lead here
