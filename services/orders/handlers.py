"""The orders service: it writes an order down, and cancels it when its saga turns back."""

from sagas.ports import Sql
from sagas.runtime.participant import Service
from services.contracts import (
    ORDERS,
    CompensateOrder,
    CreateOrder,
    OrderCompensated,
    OrderCreated,
    OrderRejected,
)
from services.orders import tables
from services.orders.rules import Refusal, accept

orders = Service(ORDERS)


@orders.handles
def create_order(sql: Sql, command: CreateOrder) -> OrderCreated | OrderRejected:
    """Write the order down."""
    accepted = accept(command.items, command.total, command.currency)
    if isinstance(accepted, Refusal):
        return OrderRejected(order_id=command.order_id, reason=accepted.reason)
    tables.write_down(sql, command.order_id, accepted.cents, accepted.items, command.address)
    return OrderCreated(
        order_id=command.order_id,
        items=command.items,
        total=command.total,
        currency=command.currency,
        card=command.card,
        address=command.address,
    )


@orders.undoes
def compensate_order(sql: Sql, command: CompensateOrder) -> OrderCompensated:
    """Cancel the order."""
    tables.cancel(sql, command.order_id)
    return OrderCompensated(order_id=command.order_id)
