"""The `imagine` command: prompts, actions, rollouts next to the truth, and their files."""
