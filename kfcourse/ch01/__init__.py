"""Chapter 01: its checks, figures and variants."""
