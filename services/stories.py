"""The demo's orders: which stories there are, and the message that begins each.

Pure: the caller brings ids and time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sagas.core.envelope import encode_message
from sagas.ports import Outgoing
from services.contracts import ORDERS, Item, Items, OrderCreated
from services.payments.rules import DECLINED, SILENT
from services.shipping.rules import UNREACHABLE

Kind = Literal[
    "delivered",
    "out of stock",
    "card declined",
    "cannot be delivered",
    "payment without an answer",
    "nothing to pay",
    "the guide's own message",
]

TOTALS = ("59.98", "120.00", "8.50", "249.99", "35.20")
PRODUCTS = ("kettle", "teapot", "mug")
NOT_IN_STOCK = "unicorn"

# Of every twenty orders these turn out differently. The one without an answer is early: it takes its time.
_DIFFERENT: dict[int, Kind] = {
    2: "payment without an answer",
    4: "out of stock",
    7: "card declined",
    10: "cannot be delivered",
    13: "nothing to pay",
    16: "card declined",
    18: "out of stock",
    20: "the guide's own message",
}
_ROUND = 20


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One order of the demo: its number from 1 and what is to become of it."""

    number: int
    kind: Kind
    order_id: str

    @property
    def is_to_complete(self) -> bool:
        """Whether it ends completed; if not, it ends compensated or rejected."""
        return self.kind in ("delivered", "the guide's own message")


def kind_of(number: int) -> Kind:
    """Which story the order of this number tells: the same for ever, so that every story can be repeated."""
    return _DIFFERENT.get((number - 1) % _ROUND + 1, "delivered")


def message_of(story: Story, *, message_id: str, now_ns: int, products: Sequence[str] = PRODUCTS) -> Outgoing:
    """The message that places the order. `now_ns` is Unix time in nanoseconds; `products` are those in stock."""
    if story.kind == "the guide's own message":
        payload = guide_payload(message_id, story.order_id, now_ns)
    else:
        payload = encode_message(
            _event(story, products),
            message_id=message_id,
            key_field=ORDERS.key,
            key=story.order_id,
            now_ms=now_ns // 1_000_000,
        )
    return Outgoing(id=message_id, topic=ORDERS.events, key=story.order_id, payload=payload)


def _event(story: Story, products: Sequence[str]) -> OrderCreated:
    number, kind = story.number, story.kind
    product = NOT_IN_STOCK if kind == "out of stock" else products[number % len(products)]
    items: Items = (Item(product, 1 + number % 3),)
    return OrderCreated(
        order_id=story.order_id,
        items=items,
        total="0.00" if kind == "nothing to pay" else TOTALS[number % len(TOTALS)],
        card=DECLINED if kind == "card declined" else SILENT if kind == "payment without an answer" else "card-ok",
        address=UNREACHABLE if kind == "cannot be delivered" else f"{number} Harbour Street",
    )


def guide_payload(message_id: str, order_id: str, now_ns: int) -> bytes:
    """The order of the event-driven guide's producer example, byte for byte as its Rust code writes it.

    `serde_json` writes a struct's fields in their order and the keys of a `Value` sorted; chrono writes
    the time with as many groups of three digits as it needs. Both ids are UUIDs.
    """
    return (
        f'{{"id":"{message_id}","order_id":"{order_id}","event_type":"order.created","timestamp":"{_chrono(now_ns)}",'
        '"data":{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}}'
    ).encode()


def _chrono(now_ns: int) -> str:
    seconds, rest = divmod(now_ns, 1_000_000_000)
    digits = f"{rest:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    fraction = f".{digits}" if digits else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
