"""Chapter 09: its checks, figures and variants."""
