"""Policies that see what a robot sees: their interface, and how they are found by name."""
