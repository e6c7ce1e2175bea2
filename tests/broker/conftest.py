"""Async tests of this room run on asyncio: the real client knows no other loop."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The loop of every `anyio` test here."""
    return "asyncio"
