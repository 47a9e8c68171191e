"""Chapter 11: its checks, figures and variants."""
