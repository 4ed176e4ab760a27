"""What `imagine` does: prompts, actions, rollouts next to the truth, and their files."""
