"""Pure functions on NumPy arrays: what is measured, without models or files."""
