"""Chapter 13: its checks, figures and variants."""
