"""Playing with a trained world model: an imagined episode, steered one action at a time."""
