"""Training: a config in, a model's folder out, with its curves; interrupted work goes on where it stopped."""
