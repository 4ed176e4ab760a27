"""The Python interface: arrays in, arrays out. What is public is imported from `genie_robo`."""
