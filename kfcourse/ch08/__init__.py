"""Chapter 08: its checks, figures and variants."""
