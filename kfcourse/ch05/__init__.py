"""Chapter 05: its checks, figures and variants."""
