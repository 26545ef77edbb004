"""Chooses a pair's threshold from labelled images, with evidence. See docs/calibration.md.

In the order of the data: reading → table → outcomes → tuning → certifying (or curve, the paper's rule) →
calibrating → evidence → report. `searching` compares all pairs of a folder of tables.
"""
