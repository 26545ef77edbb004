"""Turns a pair of classifiers into a model repository that Triton serves."""
