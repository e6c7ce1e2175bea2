"""The shipping service: it sends the parcel. That is the pivot: there is no undo."""

from sagas.ports import Sql
from sagas.runtime.participant import Service
from services.contracts import SHIPPING, OrderShipped, ShipmentFailed, ShipOrder
from services.shipping import tables
from services.shipping.rules import can_deliver, tracking

shipping = Service(SHIPPING)


@shipping.handles
def ship_order(sql: Sql, command: ShipOrder) -> OrderShipped | ShipmentFailed:
    """Send the parcel."""
    if not can_deliver(command.address):
        return ShipmentFailed(order_id=command.order_id, reason="address cannot be delivered to")
    number = tracking(command.order_id)
    tables.send(sql, command.order_id, number, command.address)
    return OrderShipped(order_id=command.order_id, tracking=number)
