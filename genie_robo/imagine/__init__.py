"""What `imagine` does: prompts, what steers them, rollouts beside the truth, and their files."""
