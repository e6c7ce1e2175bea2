"""The order saga: create, reserve, pay, ship; refused or unanswered halfway, it turns back."""

import msgspec
from msgspec.structs import replace

from sagas import Saga, unchanged
from services.contracts import (
    INVENTORY,
    ORDERS,
    PAYMENTS,
    SHIPPING,
    CompensateOrder,
    CreateOrder,
    Items,
    OrderCreated,
    OrderShipped,
    PaymentFailed,
    PaymentProcessed,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
    ShipmentFailed,
    ShipOrder,
)


class OrderData(msgspec.Struct, frozen=True):
    """What the saga remembers of an order."""

    order_id: str
    items: Items
    total: str
    card: str
    address: str
    currency: str = "USD"
    payment_id: str = ""
    tracking: str = ""


order_saga = Saga("order", OrderData, version=1, key="order_id", deadline=45)


@order_saga.start(on=ORDERS)
def begin(event: OrderCreated) -> OrderData:
    return OrderData(event.order_id, event.items, event.total, event.card, event.address, event.currency)


@order_saga.step(to=ORDERS, timeout=30, unknown="undo")
def create(order: OrderData) -> CreateOrder:
    return msgspec.convert(order, CreateOrder, from_attributes=True)


@create.undo
def _(order: OrderData) -> CompensateOrder:
    return CompensateOrder(order_id=order.order_id)


@order_saga.step(to=INVENTORY, timeout=30, unknown="undo")
def reserve(order: OrderData) -> ReserveInventory:
    return ReserveInventory(order_id=order.order_id, items=order.items)


@reserve.undo
def _(order: OrderData) -> ReleaseInventory:
    return ReleaseInventory(order_id=order.order_id)


@order_saga.step(to=PAYMENTS, timeout=2, unknown="undo")
def pay(order: OrderData) -> ProcessPayment:
    return ProcessPayment(order_id=order.order_id, amount=order.total, card=order.card)


@pay.undo
def _(order: OrderData) -> RefundPayment:
    return RefundPayment(order_id=order.order_id)


@pay.reply
def _(order: OrderData, reply: PaymentProcessed | PaymentFailed) -> OrderData:
    return order if isinstance(reply, PaymentFailed) else replace(order, payment_id=reply.payment_id)


@order_saga.pivot(to=SHIPPING, timeout=60, unknown="ask")
def ship(order: OrderData) -> ShipOrder:
    return ShipOrder(order_id=order.order_id, items=order.items, address=order.address)


@ship.reply
def _(order: OrderData, reply: OrderShipped | ShipmentFailed) -> OrderData:
    return order if isinstance(reply, ShipmentFailed) else replace(order, tracking=reply.tracking)


create.reply(unchanged)
reserve.reply(unchanged)
order_saga.flow(create >> reserve >> pay >> ship)
