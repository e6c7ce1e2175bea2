"""What becomes of a payment. Pure: the card's own name decides, so every story can be repeated."""

from hashlib import blake2b
from typing import Literal

DECLINED = "card-declined"
"""A card that begins so is refused."""

SILENT = "card-silent"
"""The bank of a card that begins so takes the request and is not heard of again."""

Outcome = Literal["captured", "declined", "no answer"]


def outcome(card: str) -> Outcome:
    """What the bank does with a payment by `card`."""
    if card.startswith(DECLINED):
        return "declined"
    return "no answer" if card.startswith(SILENT) else "captured"


def payment_id(order_id: str) -> str:
    """The id of the order's payment: the same for ever, and within the length of a key whatever the order's is."""
    return f"pay-{blake2b(order_id.encode(), digest_size=12).hexdigest()}"
