"""Chapter 11: its checks, figures and variants."""

ROUTES = ("see it",)  # the routes that lead here
