"""Fixtures of the flow's tests."""

from tests.store.conftest import box

__all__ = ["box"]
