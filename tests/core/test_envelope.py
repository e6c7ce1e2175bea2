"""The bytes on the wire are the guide's, and whatever else comes is refused without harm."""

import msgspec
import pytest

from sagas.core.envelope import (
    PAYLOAD_BYTES_MAX,
    Envelope,
    Undecodable,
    decode_data,
    decode_envelope,
    encode_message,
)
from sagas.core.messages import Key, Message
from services import contracts as c

ORDER = "5f0c5b2e-7f3b-4b8e-9d3a-2f1f0a5f7c11"
ID = "0193a5b0-0000-7000-8000-000000000001"
NOW_MS = 1_764_583_200_123

GUIDE_MESSAGE = (
    b'{"id":"8a6e0804-2bd0-4672-b79d-d97027f9071a","order_id":"5f0c5b2e-7f3b-4b8e-9d3a-2f1f0a5f7c11",'
    b'"event_type":"order.created","timestamp":"2025-12-01T10:00:00.123456789Z",'
    b'"data":{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}}'
)
"""The guide's producer example as serde_json writes it: chrono's nanoseconds, keys of `data` in order."""

ITEMS = (c.Item("123", 2),)

GOLDEN: list[tuple[Message, bytes]] = [
    (
        c.CreateOrder(order_id=ORDER, items=ITEMS, total="59.98", card="card-ok", address="1 Harbour Street"),
        b'"event_type":"order.create","timestamp":"2025-12-01T10:00:00.123000Z","data":{"items":[{"product_id":"123",'
        b'"quantity":2}],"total":"59.98","card":"card-ok","address":"1 Harbour Street","currency":"USD"}}',
    ),
    (
        c.OrderCreated(order_id=ORDER, items=ITEMS, total="59.98"),
        b'"event_type":"order.created","timestamp":"2025-12-01T10:00:00.123000Z","data":{"version":"2","items":'
        b'[{"product_id":"123","quantity":2}],"total":"59.98","currency":"USD","card":"card-ok",'
        b'"address":"1 Harbour Street"}}',
    ),
    (c.OrderRejected(order_id=ORDER, reason="no"), b'"event_type":"order.rejected",@{"reason":"no"}}'),
    (c.CompensateOrder(order_id=ORDER), b'"event_type":"order.compensate",@{}}'),
    (c.OrderCompensated(order_id=ORDER), b'"event_type":"order.compensated",@{}}'),
    (
        c.ReserveInventory(order_id=ORDER, items=ITEMS),
        b'"event_type":"inventory.reserve",@{"items":[{"product_id":"123","quantity":2}]}}',
    ),
    (c.InventoryReserved(order_id=ORDER), b'"event_type":"inventory.reserved",@{}}'),
    (c.InventoryFailed(order_id=ORDER, reason="out"), b'"event_type":"inventory.failed",@{"reason":"out"}}'),
    (c.ReleaseInventory(order_id=ORDER), b'"event_type":"inventory.release",@{}}'),
    (c.InventoryReleased(order_id=ORDER), b'"event_type":"inventory.released",@{}}'),
    (
        c.ProcessPayment(order_id=ORDER, amount="59.98", card="card-ok"),
        b'"event_type":"payment.process",@{"amount":"59.98","card":"card-ok"}}',
    ),
    (
        c.PaymentProcessed(order_id=ORDER, payment_id="p-1"),
        b'"event_type":"payment.processed",@{"payment_id":"p-1"}}',
    ),
    (c.PaymentFailed(order_id=ORDER, reason="declined"), b'"event_type":"payment.failed",@{"reason":"declined"}}'),
    (c.RefundPayment(order_id=ORDER), b'"event_type":"payment.refund",@{}}'),
    (c.PaymentRefunded(order_id=ORDER), b'"event_type":"payment.refunded",@{}}'),
    (
        c.ShipOrder(order_id=ORDER, items=ITEMS, address="x"),
        b'"event_type":"order.ship",@{"items":[{"product_id":"123","quantity":2}],"address":"x"}}',
    ),
    (c.OrderShipped(order_id=ORDER, tracking="t-1"), b'"event_type":"order.shipped",@{"tracking":"t-1"}}'),
    (c.ShipmentFailed(order_id=ORDER, reason="far"), b'"event_type":"shipment.failed",@{"reason":"far"}}'),
]
HEAD = b'{"id":"' + ID.encode() + b'","order_id":"' + ORDER.encode() + b'",'
TIME = b'"timestamp":"2025-12-01T10:00:00.123000Z","data":'


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=[type(m).__name__ for m, _ in GOLDEN])
def test_each_message_has_these_bytes_and_is_read_back_from_them(message: Message, golden: bytes) -> None:
    expected = HEAD + golden.replace(b"@", TIME)
    payload = encode_message(message, message_id=ID, key_field="order_id", key=ORDER, now_ms=NOW_MS)
    assert payload == expected
    envelope = decode_envelope(payload, "order_id")
    assert isinstance(envelope, Envelope)
    assert (envelope.id, envelope.key, envelope.timestamp_ms) == (ID, ORDER, NOW_MS)
    assert decode_data(type(message), "order_id", envelope.key, envelope.data) == message


def test_every_message_of_the_contract_has_its_golden_bytes() -> None:
    messages = {
        v for v in vars(c).values() if isinstance(v, type) and issubclass(v, Message) and v.__module__ == c.__name__
    }
    assert messages == {type(message) for message, _ in GOLDEN}


def test_the_guides_own_producer_message_is_read_as_an_order() -> None:
    envelope = decode_envelope(GUIDE_MESSAGE, "order_id")
    assert isinstance(envelope, Envelope)
    assert envelope.timestamp_ms == NOW_MS
    event = decode_data(c.OrderCreated, "order_id", envelope.key, envelope.data)
    assert event == c.OrderCreated(order_id=ORDER, items=(c.Item("123", 2),), total="59.98")


GOOD = HEAD + b'"event_type":"order.created",' + TIME + b'{"items":[{"product_id":"1","quantity":1}],"total":"1.00"}}'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"0",
        GOOD + b"x",
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"2025-12-01T10:00:00.123000Z", b"2025-12-01T10:00:00"),
        GOOD.replace(ORDER.encode(), b"../../etc/passwd"),
        GOOD.replace(ORDER.encode(), b"a" * 65),
        GOOD.replace(ORDER.encode(), b"a\\u0000b"),
        GOOD.replace(ORDER.encode(), b"abc\\n"),
        GOOD.replace(ORDER.encode(), b"\xff\xfe"),
        GOOD.replace(ORDER.encode(), b"\\ud800"),
        b'{"a":' * 100_000,
        b'{"id":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'"' + b"x" * PAYLOAD_BYTES_MAX + b'"',
        b'{"order_id":"x"}',
    ],
)
def test_an_envelope_that_is_none_is_refused_with_a_reason_and_without_an_exception(payload: bytes) -> None:
    envelope = decode_envelope(payload, "order_id")
    assert isinstance(envelope, Undecodable)
    assert 0 < len(envelope.reason) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"items":[],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":0}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":-5}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":"5"}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":5.5}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":true}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":9223372036854775808}],"total":"1.00"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":1.00}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"-1.00"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"1e1000000000"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"NaN"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"1.001"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"1.00\\n"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"1.00","card":"a\\u0000b"}',
        b'{"items":[{"product_id":"1","quantity":1}],"total":"1.00","card":"' + b"x" * 1001 + b'"}',
    ],
)
def test_an_order_that_is_none_is_refused_with_a_reason_and_without_an_exception(data: bytes) -> None:
    assert isinstance(decode_data(c.OrderCreated, "order_id", ORDER, data), Undecodable)


SOUND_NAMES = ["a", "a" * 64, "o-1.2:3_4"]

NO_NAMES = ["", "a" * 65, "-a", "a\n", "a\nb\nc", "\na", "a b", "\u0661", "\u00e9", "a\0", 7, None]
"""What is no key: too short, too long, of the wrong letters, over several lines, no text."""


@pytest.mark.parametrize("name", [*SOUND_NAMES, *NO_NAMES])
@pytest.mark.parametrize("field", ["id", "order_id", "event_type"])
def test_each_name_of_an_envelope_is_refused_as_a_key_is_with_its_place(field: str, name: object) -> None:
    sound = {"id": ID, "order_id": ORDER, "event_type": "order.created", "timestamp": "2025-12-01T10:00:00Z"}
    read = decode_envelope(msgspec.json.encode({**sound, field: name, "data": {}}), "order_id")
    assert isinstance(read, Envelope) == (name in SOUND_NAMES)
    if isinstance(read, Undecodable):
        with pytest.raises(msgspec.ValidationError) as refused:
            msgspec.convert(name, Key)
        assert read.reason == f"envelope: ValidationError: {refused.value} - at `$.{field}`"
