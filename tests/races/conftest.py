"""Async tests run on asyncio: Iggy's client knows no other loop."""

from collections.abc import Iterator

import pytest

from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from tests.services.desk import Desk


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stock() -> Iterator[Desk]:
    """The inventory service with ten kettles, three mugs and no unicorn."""
    desk = Desk(inventory, migrations({"kettle": 10, "mug": 3, "unicorn": 0}))
    yield desk
    desk.store.close()


@pytest.fixture
def bank() -> Iterator[Desk]:
    """The payments service."""
    desk = Desk(payments, PAYMENTS_TABLES)
    yield desk
    desk.store.close()
