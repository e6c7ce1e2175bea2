"""The demo's system in one process, and words for what happens in it."""

from collections.abc import Iterable, Mapping
from uuid import NAMESPACE_DNS, uuid5

from sagas.core.envelope import Header
from sagas.core.instance import Instance
from sagas.ports import Outgoing
from sagas.testing.world import World
from services.contracts import Item, OrderCreated
from services.inventory.handlers import inventory
from services.inventory.tables import MIGRATIONS as INVENTORY_TABLES
from services.orders.handlers import orders
from services.orders.saga import order_saga
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES

__all__ = ["SERVICES", "Header", "a_shop", "an_order", "attempts", "effects", "foreign", "order", "rows"]

_NAMESPACE = uuid5(NAMESPACE_DNS, "sagas.tests")


SERVICES = {
    orders: ORDERS_TABLES,
    inventory: INVENTORY_TABLES,
    payments: PAYMENTS_TABLES,
    shipping: SHIPPING_TABLES,
}
"""Each service with the migrations of its own tables."""


def a_shop(*, with_event_store: bool = False) -> World:
    return World([order_saga.definition], SERVICES, with_event_store=with_event_store)


def an_order(
    key: str, *, product: str = "123", card: str = "card-ok", address: str = "1 Harbour Street"
) -> OrderCreated:
    return OrderCreated(order_id=key, items=(Item(product, 2),), total="59.98", card=card, address=address)


def order(world: World, key: str) -> Instance:
    return world.instance("order", key)


def effects(instance: Instance) -> dict[str, str]:
    return {step.name: step.effect for step in instance.steps}


def attempts(instance: Instance) -> dict[str, int]:
    return {step.name: step.attempts for step in instance.steps}


def rows(world: World, participant: str, sql: str, parameters: Iterable[object] = ()) -> list[tuple[object, ...]]:
    with world.stores[participant].transaction() as transaction:
        return transaction.sql.execute(sql, list(parameters)).fetchall()


def foreign(
    topic: str, key: str, payload: bytes, number: int = 1, headers: Mapping[str, str] | None = None
) -> Outgoing:
    """A message that some other program wrote."""
    message_id = str(uuid5(_NAMESPACE, f"{topic} {key} {number}"))
    return Outgoing(id=message_id, topic=topic, key=key, payload=payload, headers=headers or {})
