"""Layouts of the viewer as pure functions: made for 1600x950, in shares that fit a laptop too."""
