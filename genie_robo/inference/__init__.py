"""Imagination: decode frames, roll out, map latent actions to robot actions."""
