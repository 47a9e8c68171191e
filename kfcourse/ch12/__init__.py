"""Chapter 12: its checks, figures and variants."""
