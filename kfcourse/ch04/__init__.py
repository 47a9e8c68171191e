"""Chapter 04: its checks, figures and variants."""
