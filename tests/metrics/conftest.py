"""Async tests run on asyncio: Iggy's client knows no other loop."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
