"""Chapter 14: its checks, figures and variants."""
