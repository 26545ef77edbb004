"""Experiments with Little-Big: not installed, run from a checkout. See experiments/README.md."""
