"""Curvature of a network, from hooks to eigenbases: A, G, GGN, Fisher, spectra, landscapes."""
