"""The orders of the demo: each story in its place, and the guide's own message byte for byte."""

from collections import Counter

import msgspec
import pytest

from sagas.core.envelope import Envelope, Undecodable, decode_data, decode_envelope
from services.contracts import OrderCreated
from services.stories import Story, guide_payload, kind_of, message_of

NOW_NS = 1_738_324_800_123_456_789
MESSAGE_ID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
ORDER_ID = "5f0c5b2e-7f3b-4b8e-9d3a-2f1f0a5f7c11"


def test_twenty_orders_tell_every_story_and_most_complete() -> None:
    assert Counter(kind_of(number) for number in range(1, 21)) == {
        "delivered": 12,
        "out of stock": 2,
        "card declined": 2,
        "cannot be delivered": 1,
        "payment without an answer": 1,
        "nothing to pay": 1,
        "the guide's own message": 1,
    }


def test_the_guides_message_is_what_its_rust_example_writes() -> None:
    assert guide_payload(MESSAGE_ID, ORDER_ID, NOW_NS) == (
        b'{"id":"8a6e0804-2bd0-4672-b79d-d97027f9071a","order_id":"5f0c5b2e-7f3b-4b8e-9d3a-2f1f0a5f7c11",'
        b'"event_type":"order.created","timestamp":"2025-01-31T12:00:00.123456789Z",'
        b'"data":{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}}'
    )


@pytest.mark.parametrize(
    ("rest_ns", "fraction"), [(0, ""), (120_000_000, ".120"), (123_456_000, ".123456"), (1, ".000000001")]
)
def test_its_time_has_as_many_digits_as_it_needs_in_threes(rest_ns: int, fraction: str) -> None:
    payload = guide_payload(MESSAGE_ID, ORDER_ID, 1_738_324_800_000_000_000 + rest_ns)

    assert msgspec.json.decode(payload)["timestamp"] == f"2025-01-31T12:00:00{fraction}Z"


@pytest.mark.parametrize("number", range(1, 21))
def test_every_order_is_an_event_that_starts_the_saga(number: int) -> None:
    story = Story(number=number, kind=kind_of(number), order_id=f"order-{number:04}")

    message = message_of(story, message_id=MESSAGE_ID, now_ns=NOW_NS)

    envelope = decode_envelope(message.payload, "order_id")
    assert isinstance(envelope, Envelope)
    assert (message.topic, message.key, envelope.event_type) == ("orders", story.order_id, "order.created")
    assert not isinstance(decode_data(OrderCreated, "order_id", envelope.key, envelope.data), Undecodable)
