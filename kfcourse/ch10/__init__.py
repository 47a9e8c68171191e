"""Chapter 10: its checks, figures and variants."""
