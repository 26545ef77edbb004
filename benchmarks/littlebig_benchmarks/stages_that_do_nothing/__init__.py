"""Stages that answer at once, so that only the gate is measured: config.pbtxt and model.py of both."""
