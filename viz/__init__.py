"""Rerun recordings of rollouts and episodes, their layouts, and the viewer that opens them."""
