"""What a customer is told of which event."""

from collections.abc import Mapping

TEXTS: Mapping[str, str] = {
    "order.created": "We have your order {order}.",
    "payment.processed": "Your payment for order {order} has arrived.",
    "payment.failed": "Your payment for order {order} was refused.",
    "inventory.failed": "Something in order {order} is sold out.",
    "order.shipped": "Order {order} is on its way.",
    "order.compensated": "Order {order} was cancelled, and nothing of it is owed.",
}
"""By type of event; of others they are told nothing."""


def text_of(event_type: str, order_id: str) -> str | None:
    """The text, None when there is nothing to tell."""
    text = TEXTS.get(event_type)
    return None if text is None else text.format(order=order_id)
