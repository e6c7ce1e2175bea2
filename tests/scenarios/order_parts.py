"""The order that the stories are about, and how far a story has come when something happens to it."""

from sagas.testing import Scenario
from services.contracts import (
    CompensateOrder,
    CreateOrder,
    InventoryReleased,
    InventoryReserved,
    Item,
    OrderCompensated,
    OrderCreated,
    OrderShipped,
    PaymentProcessed,
    PaymentRefunded,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from services.orders.saga import OrderData, order_saga

PLACED = OrderCreated(
    order_id="o-1", items=(Item("123", 2),), total="59.98", card="card-ok", address="1 Harbour Street"
)
RESERVED = InventoryReserved(order_id="o-1")
RELEASED = InventoryReleased(order_id="o-1")
PAID = PaymentProcessed(order_id="o-1", payment_id="pay-1")
REFUNDED = PaymentRefunded(order_id="o-1")
SHIPPED = OrderShipped(order_id="o-1", tracking="track-1")
CANCELLED = OrderCompensated(order_id="o-1")

Story = Scenario[OrderData]


def placed() -> Story:
    """The order is placed; nobody has answered yet."""
    return Scenario(order_saga).start_event(PLACED)


def created() -> Story:
    """The order is written down."""
    story = placed()
    story.expect(CreateOrder).reply(PLACED)
    return story


def reserved() -> Story:
    """The items are set aside."""
    story = created()
    story.expect(ReserveInventory).reply(RESERVED)
    return story


def paid() -> Story:
    """The money is captured; the parcel is asked for."""
    story = reserved()
    story.expect(ProcessPayment).reply(PAID)
    return story


def turn_back_from_pay(story: Story) -> None:
    """Refund, release, cancel: each is asked for and answered."""
    story.expect(RefundPayment).reply(REFUNDED)
    turn_back_from_reserve(story)


def turn_back_from_reserve(story: Story) -> None:
    """Release and cancel."""
    story.expect(ReleaseInventory).reply(RELEASED)
    turn_back_from_create(story)


def turn_back_from_create(story: Story) -> None:
    """Cancel."""
    story.expect(CompensateOrder).reply(CANCELLED)
