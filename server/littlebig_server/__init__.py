"""Finds a tritonserver, starts it, waits for it, stops it."""
