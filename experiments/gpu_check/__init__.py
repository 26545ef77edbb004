"""Checks and measures the cascade on a machine with a GPU."""
