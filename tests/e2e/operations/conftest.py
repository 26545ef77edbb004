"""The gate between its puppets, as the gate's own tests have it."""

from tests.e2e.gate.conftest import puppets

__all__ = ["puppets"]
