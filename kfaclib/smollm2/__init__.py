"""A real pretrained model for a laptop: SmolLM2-135M, the texts it is asked about, and what it can be taught."""
