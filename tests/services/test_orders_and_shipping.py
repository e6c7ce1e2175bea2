"""The orders and the shipping service behind their barriers."""

from services.contracts import (
    CompensateOrder,
    CreateOrder,
    Item,
    OrderCreated,
    OrderRejected,
    OrderShipped,
    ShipmentFailed,
    ShipOrder,
)
from services.shipping.rules import tracking
from tests.services.desk import Desk, reply_in, same_message

ITEMS = (Item("123", 2),)
CREATE = CreateOrder(order_id="o-1", items=ITEMS, total="59.98", card="card-ok", address="1 Harbour Street")
COMPENSATE = CompensateOrder(order_id="o-1")
SHIP = ShipOrder(order_id="o-1", items=ITEMS, address="1 Harbour Street")

ORDERS = "SELECT order_id, total, state, items, address FROM orders"
SHIPMENTS = "SELECT order_id, tracking, address, state FROM shipments"


def an_order(state: str) -> list[tuple[object, ...]]:
    """The one row of the orders table."""
    return [("o-1", 5998, state, '[{"product_id":"123","quantity":2}]', "1 Harbour Street")]


def test_an_order_is_written_down_once_without_its_card(orders_desk: Desk) -> None:
    (first,) = orders_desk.hand(CREATE, "create")
    (second,) = orders_desk.hand(CREATE, "create", attempt=2)
    created = reply_in(first, OrderCreated)
    assert (created.order_id, created.items, created.total, created.card) == ("o-1", ITEMS, "59.98", "card-ok")
    assert same_message(first, second)
    assert orders_desk.rows(ORDERS) == an_order("created")


def test_an_order_is_cancelled_once_and_stays_written_down(orders_desk: Desk) -> None:
    orders_desk.hand(CREATE, "create")
    (first,) = orders_desk.hand(COMPENSATE, "create", "undo")
    (second,) = orders_desk.hand(COMPENSATE, "create", "undo", attempt=2)
    assert first.event_type == "order.compensated"
    assert same_message(first, second)
    assert orders_desk.rows(ORDERS) == an_order("cancelled")


def test_an_order_of_nothing_to_pay_is_refused_and_not_written_down(orders_desk: Desk) -> None:
    free = CreateOrder(order_id="o-1", items=ITEMS, total="0.00", card="card-ok", address="1 Harbour Street")
    (answer,) = orders_desk.hand(free, "create")
    assert reply_in(answer, OrderRejected).reason == "nothing to pay: the total is 0.00"
    assert orders_desk.rows(ORDERS) == []


def test_an_order_cancelled_before_it_came_is_never_written_down(orders_desk: Desk) -> None:
    (answer,) = orders_desk.hand(COMPENSATE, "create", "undo")
    assert answer.event_type == "order.compensated"
    assert orders_desk.hand(CREATE, "create") == []
    assert orders_desk.rows(ORDERS) == []


def test_a_parcel_is_sent_once_under_one_tracking_number(shipping_desk: Desk) -> None:
    (first,) = shipping_desk.hand(SHIP, "ship")
    (second,) = shipping_desk.hand(SHIP, "ship", attempt=2)
    assert reply_in(first, OrderShipped) == OrderShipped(order_id="o-1", tracking=tracking("o-1"))
    assert same_message(first, second)
    assert shipping_desk.rows(SHIPMENTS) == [("o-1", tracking("o-1"), "1 Harbour Street", "sent")]


def test_no_parcel_is_sent_to_nowhere(shipping_desk: Desk) -> None:
    (answer,) = shipping_desk.hand(ShipOrder(order_id="o-1", items=ITEMS, address="nowhere 1"), "ship")
    assert reply_in(answer, ShipmentFailed).reason == "address cannot be delivered to"
    assert shipping_desk.rows(SHIPMENTS) == []


def test_a_command_of_another_service_goes_to_the_dead_letters(shipping_desk: Desk) -> None:
    (answer,) = shipping_desk.hand(CREATE, "create")
    assert answer.event_type == "sagas.undeliverable"
    (letter,) = shipping_desk.dead_letters()
    assert letter.reason == "shipping does not understand 'order.create', only order.ship"
