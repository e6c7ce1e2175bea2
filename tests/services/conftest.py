"""The four services at their desks, each with a fresh database in memory."""

from collections.abc import Iterator

import pytest

from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.orders.handlers import orders
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES
from tests.services.desk import Desk


@pytest.fixture
def orders_desk() -> Iterator[Desk]:
    """The orders service."""
    desk = Desk(orders, ORDERS_TABLES)
    yield desk
    desk.store.close()


@pytest.fixture
def inventory_desk() -> Iterator[Desk]:
    """The inventory service with ten kettles, three mugs and no unicorn."""
    desk = Desk(inventory, migrations({"kettle": 10, "mug": 3, "unicorn": 0}))
    yield desk
    desk.store.close()


@pytest.fixture
def payments_desk() -> Iterator[Desk]:
    """The payments service."""
    desk = Desk(payments, PAYMENTS_TABLES)
    yield desk
    desk.store.close()


@pytest.fixture
def shipping_desk() -> Iterator[Desk]:
    """The shipping service."""
    desk = Desk(shipping, SHIPPING_TABLES)
    yield desk
    desk.store.close()
