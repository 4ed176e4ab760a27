"""Comparison of runs: numbers by address, tables, figures and paired differences."""
