"""Stages that answer at once, so that only the gate around them is measured: config.pbtxt and model.py for both."""
