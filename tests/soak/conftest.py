"""Fixtures of the soak's tests."""

from tests.integration.conftest import deployment

__all__ = ["deployment"]
