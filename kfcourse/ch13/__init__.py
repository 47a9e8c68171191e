"""Chapter 13: its checks, figures and variants."""

ROUTES = ("prove it",)  # the routes that lead here
