"""Chapter 03: its checks, figures and variants."""
