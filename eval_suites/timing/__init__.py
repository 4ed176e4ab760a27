"""The parts of suite `speed`: programs that measure themselves, and what they found."""
