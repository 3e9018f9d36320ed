"""The real program, for what is deployed."""

from tests.e2e.conftest import embedded

__all__ = ["embedded"]
