"""A Genie world model for robot data."""
