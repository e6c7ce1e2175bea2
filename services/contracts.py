"""All that the services share: who they are and what they say to each other.

Changing a message here changes what is in the topics: add fields with defaults, or raise the message's
version and say with `upcast` how the older one is read.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from sagas import Command, Event, Key, Participant, Rejection, Text, upcast
from services.money import Amount, Currency, exact_amount

STREAM = "ecommerce"

ORDERS = Participant("orders", key="order_id")
INVENTORY = Participant("inventory", key="order_id")
PAYMENTS = Participant("payments", key="order_id")
SHIPPING = Participant("shipping", key="order_id")

ITEMS_MAX = 100


class Item(msgspec.Struct, frozen=True):
    """One line of an order."""

    product_id: Key
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]


Items = Annotated[tuple[Item, ...], Meta(min_length=1, max_length=ITEMS_MAX)]


class OrderCreated(Event, tag="order.created", version=2, untagged=2):
    """An order was placed. Any client may publish it to `orders`: that starts the saga.

    Version 1 had the total as a floating-point number, in dollars. Clients that say no version write this one.
    """

    order_id: Key
    items: Items
    total: Amount
    currency: Currency = "USD"
    card: Text = "card-ok"
    address: Text = "1 Harbour Street"


@upcast(OrderCreated, from_version=1)
def _(data: dict[str, object]) -> dict[str, object]:
    return {**data, "total": exact_amount(data.get("total")), "currency": "USD"}


class OrderRejected(Rejection, tag="order.rejected"):
    """The order cannot be taken."""

    order_id: Key
    reason: Text


class CreateOrder(Command[OrderCreated | OrderRejected], tag="order.create"):
    """Write the order down."""

    order_id: Key
    items: Items
    total: Amount
    card: Text
    address: Text
    currency: Currency = "USD"


class OrderCompensated(Event, tag="order.compensated"):
    """The order is cancelled."""

    order_id: Key


class CompensateOrder(Command[OrderCompensated], tag="order.compensate"):
    """Cancel the order."""

    order_id: Key


class InventoryReserved(Event, tag="inventory.reserved"):
    """The items are set aside."""

    order_id: Key


class InventoryFailed(Rejection, tag="inventory.failed"):
    """There is not enough on the shelf."""

    order_id: Key
    reason: Text


class ReserveInventory(Command[InventoryReserved | InventoryFailed], tag="inventory.reserve"):
    """Set the items aside."""

    order_id: Key
    items: Items


class InventoryReleased(Event, tag="inventory.released"):
    """The items are back on the shelf."""

    order_id: Key


class ReleaseInventory(Command[InventoryReleased], tag="inventory.release"):
    """Put the items back."""

    order_id: Key


class PaymentProcessed(Event, tag="payment.processed"):
    """The money is captured."""

    order_id: Key
    payment_id: Key


class PaymentFailed(Rejection, tag="payment.failed"):
    """The card was declined."""

    order_id: Key
    reason: Text


class ProcessPayment(Command[PaymentProcessed | PaymentFailed], tag="payment.process"):
    """Capture the total."""

    order_id: Key
    amount: Amount
    card: Text


class PaymentRefunded(Event, tag="payment.refunded"):
    """The money is given back, or was never taken."""

    order_id: Key


class RefundPayment(Command[PaymentRefunded], tag="payment.refund"):
    """Give the money back."""

    order_id: Key


class OrderShipped(Event, tag="order.shipped"):
    """The parcel is on its way; it cannot be called back."""

    order_id: Key
    tracking: Key


class ShipmentFailed(Rejection, tag="shipment.failed"):
    """The address cannot be delivered to."""

    order_id: Key
    reason: Text


class ShipOrder(Command[OrderShipped | ShipmentFailed], tag="order.ship"):
    """Send the parcel."""

    order_id: Key
    items: Items
    address: Text
