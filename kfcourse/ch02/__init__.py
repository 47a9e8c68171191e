"""Chapter 02: its checks, figures and variants."""
