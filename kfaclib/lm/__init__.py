"""Language models: loading, text, recitation, mining, relearning."""
