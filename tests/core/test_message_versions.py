"""Messages that an older release or another program wrote: read as today's, or refused with their version's name."""

from typing import Any

import msgspec
import pytest

from sagas import Command, Event, Key, MessageError, upcast
from sagas.core.envelope import Envelope, Undecodable, decode_data, decode_envelope, encode_data, encode_message
from sagas.core.upcasting import known_versions
from services.contracts import Item, OrderCreated
from services.money import exact_amount

ITEMS = b'"items":[{"product_id":"123","quantity":2}]'
ORDER = OrderCreated(order_id="o-1", items=(Item("123", 2),), total="59.98")


class Paid(Event, tag="paid", version=3):
    order_id: str
    amount: str
    currency: str


@upcast(Paid, from_version=1)
def _(data: dict[str, object]) -> dict[str, object]:
    return {"amount": f"{data['cents']}c"}


@upcast(Paid, from_version=2)
def _(data: dict[str, object]) -> dict[str, object]:
    return {**data, "currency": "USD"}


class Document(Event, tag="document.written"):
    order_id: str
    version: str


def paid(data: bytes) -> Paid | Undecodable:
    return decode_data(Paid, "order_id", "o-1", data)


def order(data: bytes) -> OrderCreated | Undecodable:
    return decode_data(OrderCreated, "order_id", "o-1", data)


@pytest.mark.parametrize("said", [b'"1"', b"1"])
def test_the_guides_order_of_version_one_is_read_exactly_and_in_dollars(said: bytes) -> None:
    assert order(b'{"version":' + said + b',"user_id":"u-1",' + ITEMS + b',"total":59.98}') == ORDER


@pytest.mark.parametrize("said", [b'"version":"2",', b'"version":2,', b""])
def test_the_guides_order_of_version_two_is_read_with_its_currency(said: bytes) -> None:
    read = order(b"{" + said + ITEMS + b',"total":"59.98","currency":"EUR"}')

    assert isinstance(read, OrderCreated)
    assert (read.total, read.currency) == ("59.98", "EUR")


def test_a_version_nobody_knows_is_refused_by_name() -> None:
    read = order(b'{"version":"3",' + ITEMS + b',"total":"59.98","currency":"USD"}')

    assert read == Undecodable("order.created: ValueError: version '3' is unknown, known: 1, 2")


@pytest.mark.parametrize(
    "said", ['"01"', '"2.0"', '"²"', '""', '"v1"', "0", '"0"', '" 1"', '"' + "9" * 64 + '"', "2147483647"]
)
def test_what_only_looks_like_a_version_is_refused_and_never_guessed(said: str) -> None:
    read = order(b'{"version":' + said.encode() + b"," + ITEMS + b',"total":"59.98"}')

    assert isinstance(read, Undecodable)
    assert "is unknown, known: 1, 2" in read.reason


@pytest.mark.parametrize("said", ["1.5", "[]", "{}", "true", "-1", '"' + "9" * 65 + '"', "99999999999"])
def test_a_version_that_is_no_number_is_refused(said: str) -> None:
    read = order(b'{"version":' + said.encode() + b"," + ITEMS + b',"total":"59.98"}')

    assert isinstance(read, Undecodable)
    assert "$.version" in read.reason


def test_each_upcaster_knows_its_neighbour_and_the_chain_reads_the_oldest() -> None:
    assert paid(b'{"version":1,"cents":5}') == Paid(order_id="o-1", amount="5c", currency="USD")
    assert paid(b'{"version":2,"amount":"5c"}') == Paid(order_id="o-1", amount="5c", currency="USD")
    assert paid(b'{"version":3,"amount":"5c","currency":"EUR"}') == Paid(order_id="o-1", amount="5c", currency="EUR")


def test_a_message_that_says_no_version_is_of_the_first() -> None:
    assert paid(b'{"cents":5}') == Paid(order_id="o-1", amount="5c", currency="USD")


def test_an_older_version_is_upcast_even_where_it_could_be_read_as_todays() -> None:
    assert paid(b'{"version":2,"amount":"5c","currency":"ZZZ"}') == Paid(order_id="o-1", amount="5c", currency="USD")


def test_what_an_upcaster_raises_is_the_reason() -> None:
    assert paid(b'{"version":1}') == Undecodable("paid: ValueError: version 1: KeyError: 'cents'")


def test_what_an_upcaster_lets_through_is_still_checked() -> None:
    read = order(b'{"version":1,"items":[],"total":59.98}')

    assert isinstance(read, Undecodable)
    assert "$.items" in read.reason


def test_a_version_in_the_envelope_counts_when_the_message_says_none() -> None:
    head = (
        b'{"id":"m-1","order_id":"o-1","event_type":"order.created","timestamp":"2025-12-01T10:00:00Z","version":"1",'
    )
    envelope = decode_envelope(head + b'"data": {' + ITEMS + b',"total":59.98}}', "order_id")
    other = decode_envelope(head + b'"data":{"version":2,' + ITEMS + b',"total":"59.98"}}', "order_id")

    assert isinstance(envelope, Envelope)
    assert order(envelope.data) == ORDER
    assert isinstance(other, Envelope)
    assert order(other.data) == ORDER


@pytest.mark.parametrize("data", [b"{}", b"{ }", b"[]", b"null", b'"x"', b"1"])
def test_a_version_in_the_envelope_breaks_no_data(data: bytes) -> None:
    head = b'{"id":"m-1","order_id":"o-1","event_type":"paid","timestamp":"2025-12-01T10:00:00Z","version":3,"data":'
    envelope = decode_envelope(head + data + b"}", "order_id")

    assert isinstance(envelope, Envelope)
    assert isinstance(paid(envelope.data), Undecodable)


def test_a_message_says_its_version_unless_it_is_the_first() -> None:
    assert encode_data(ORDER, "order_id").startswith(b'{"version":"2","items":')
    assert encode_data(Document(order_id="o-1", version="7"), "order_id") == b'{"version":"7"}'


def test_a_field_called_version_belongs_to_the_class_that_has_it() -> None:
    document = Document(order_id="o-1", version="of May")
    payload = encode_message(document, message_id="m-1", key_field="order_id", key="o-1", now_ms=0)
    envelope = decode_envelope(payload, "order_id")

    assert isinstance(envelope, Envelope)
    assert decode_data(Document, "order_id", "o-1", envelope.data) == document
    with pytest.raises(MessageError, match="a field `version` of its own"):
        type("Other", (Document,), {}, tag="other", version=2)


def test_mistakes_with_versions_are_refused_where_they_are_made() -> None:
    class Late(Event, tag="late", version=3):
        order_id: str

    with pytest.raises(MessageError, match="of version 3 and is given an upcaster from version 3; say `version=4`"):
        upcast(Late, from_version=3)

    async def awaited(data: dict[str, object]) -> dict[str, object]:
        return data

    given: Any = awaited
    with pytest.raises(MessageError, match="an upcaster from version 1 that is async, and nobody would await it"):
        upcast(Late, from_version=1)(given)
    upcast(Late, from_version=1)(dict)
    with pytest.raises(MessageError, match="two upcasters from version 1"):
        upcast(Late, from_version=1)(dict)
    with pytest.raises(MessageError, match=r"from version 1 and none from version 2; add `@upcast\(Late, from_ver"):
        decode_data(Late, "order_id", "o-1", b"{}")
    with pytest.raises(MessageError, match="count versions from 1"):
        type("Zero", (Event,), {}, tag="zero", version=0)


def test_a_saga_is_refused_whose_message_cannot_be_read_without_a_version() -> None:
    class Asked(Event, tag="asked", version=2):
        order_id: Key

    class Do(Command[Asked], tag="do"):
        order_id: Key

    with pytest.raises(
        MessageError, match="read as version 1 when it says none, and nothing turns that into version 2"
    ):
        decode_data(Asked, "order_id", "o-1", b"{}")
    assert known_versions(Do) == (1,)


@pytest.mark.parametrize(
    ("number", "amount"), [(59.98, "59.98"), (0.1, "0.10"), (60, "60.00"), (1e3, "1000.00"), (0.0, "0.00")]
)
def test_a_number_that_was_written_as_money_is_that_amount(number: float, amount: str) -> None:
    assert exact_amount(number) == amount


@pytest.mark.parametrize(
    "number", [0.1 + 0.2, 1.001, 1e-7, float("inf"), float("nan"), 1e300, True, "59.98", None, [1]]
)
def test_a_number_that_is_no_whole_cents_is_refused_and_never_rounded(number: object) -> None:
    with pytest.raises(ValueError, match=r"whole number of cents|expected a number"):
        exact_amount(number)


def test_every_cent_up_to_a_hundred_thousand_dollars_survives_the_float() -> None:
    for cents in range(0, 10_000_000, 997):
        assert exact_amount(cents / 100) == f"{cents // 100}.{cents % 100:02}"


class Checked(Event, tag="checked"):
    """A message with a check of its own, and a field that is made anew for each."""

    order_id: str
    amount: int
    notes: list[str] = msgspec.field(default_factory=list[str])

    def __post_init__(self) -> None:
        """Refuse what the shop never sells."""
        if self.amount < 0:
            raise RuntimeError(f"an amount of {self.amount}")


def test_what_a_messages_own_check_raises_makes_it_unreadable_with_its_words() -> None:
    assert decode_data(Checked, "order_id", "o-1", b'{"amount":-1}') == Undecodable(
        "checked: RuntimeError: an amount of -1"
    )
    one, other = (decode_data(Checked, "order_id", "o-1", b'{"amount":1}') for _ in range(2))
    assert isinstance(one, Checked)
    assert isinstance(other, Checked)
    assert one.notes is not other.notes


class Recounted(Event, tag="recounted", version=2):
    order_id: str
    amount: int


@upcast(Recounted, from_version=1)
def _(data: dict[str, object]) -> dict[str, object]:
    return None  # type: ignore[return-value] # what an untyped upcaster may do


def test_an_upcaster_that_returns_nothing_makes_the_message_unreadable_with_its_name() -> None:
    read = decode_data(Recounted, "order_id", "o-1", b'{"cents":5}')
    assert read == Undecodable("recounted: ValueError: the upcaster of recounted from version 1 returned no dict")


def test_a_message_with_a_field_called_version_of_its_own_has_no_upcasters() -> None:
    with pytest.raises(MessageError, match="has a field `version` of its own"):
        upcast(Document, from_version=1)


@pytest.mark.parametrize("data", [b"[1]", b'"text"', b"7"])
def test_data_that_is_no_object_is_refused_whatever_its_envelope_says_of_its_version(data: bytes) -> None:
    payload = (
        b'{"id":"8a6e0804-2bd0-4672-b79d-d97027f9071a","order_id":"o-1","event_type":"order.created",'
        b'"timestamp":"2025-12-01T10:00:00Z","version":1,"data":' + data + b"}"
    )
    envelope = decode_envelope(payload, "order_id")
    if isinstance(envelope, Envelope):
        assert isinstance(order(envelope.data), Undecodable)


def test_fields_are_given_by_name_whatever_a_class_says() -> None:
    class Said(Event, tag="by.name", kw_only=True):
        why: str = ""

    class Derived(Said, tag="by.name.too"):
        order_id: str

    assert Derived(order_id="o-1").order_id == "o-1"
    with pytest.raises(MessageError, match="kw_only"):

        class Positional(Event, tag="by.place", kw_only=False):  # pyright: ignore[reportUnusedClass] - it is not made
            why: str = ""
