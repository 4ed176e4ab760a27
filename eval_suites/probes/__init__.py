"""What latent actions say about the robot: rows of transitions, probes, and their baselines."""
