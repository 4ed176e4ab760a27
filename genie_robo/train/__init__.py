"""Training: one loop for all stages."""
