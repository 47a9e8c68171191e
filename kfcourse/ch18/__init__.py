"""Chapter 18: its checks, figures and variants."""

ROUTES = ("build it",)  # the routes that lead here
