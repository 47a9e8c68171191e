"""Chapter 06: its checks, figures and variants."""
