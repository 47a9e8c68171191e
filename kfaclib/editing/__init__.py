"""What is done to a weight matrix: the projection on high curvature, its controls, and how strong an edit is."""
