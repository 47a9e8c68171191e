"""Chapter 16: its checks, drawings, figures and variants."""

ROUTES = ("see it", "prove it")  # the routes that lead here
