"""Chapter 17: its checks, figures and variants."""

ROUTES = ("build it",)  # the routes that lead here
