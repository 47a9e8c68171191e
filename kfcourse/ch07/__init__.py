"""Chapter 07: its checks, figures and variants."""
