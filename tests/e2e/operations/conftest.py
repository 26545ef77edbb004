"""The gate between puppet stages, shared with the gate's own tests."""

from tests.e2e.gate.conftest import puppets

__all__ = ["puppets"]
