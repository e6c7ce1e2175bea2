"""What becomes of messages that cannot be dealt with, in a whole system: nobody waits for them, and nothing is lost."""

from base64 import b64decode

import msgspec
import pytest

from sagas import Command, Event, Participant, Saga, unchanged
from sagas.broker.memory import MemoryBroker
from sagas.core.definition import Definition
from sagas.core.effects import Send
from sagas.core.envelope import Envelope, decode_envelope
from sagas.core.instance import Instance
from sagas.core.republished import first_id
from sagas.ports import Incoming, OutboxRow, Outgoing, Sql
from sagas.runtime.dead_letters import (
    DEAD_LETTERS,
    EVENT_TYPE,
    HEADERS_KEPT_MAX,
    KEY_FIELD,
    PAYLOAD_KEPT_MAX,
    RETRIES_MAX,
    Notice,
    dead_letter,
    published_again,
    retry_count,
)
from sagas.runtime.participant import Service
from sagas.runtime.rows import command_row
from sagas.store.letter_file import requeued
from sagas.testing.world import World
from services.contracts import PAYMENTS, PaymentRefunded, RefundPayment
from services.inventory.handlers import inventory
from services.inventory.tables import MIGRATIONS as INVENTORY_TABLES
from services.orders.handlers import orders
from services.orders.saga import order_saga
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES
from tests.runtime.shop import Header, a_shop, an_order, effects, foreign, order

pytestmark = pytest.mark.anyio


async def told(world: World) -> list[tuple[Envelope, Notice]]:
    """What the topic of dead letters carries."""
    broker = MemoryBroker(world.broker)
    subscription = await broker.subscribe("reader", [DEAD_LETTERS])
    messages = await subscription.poll(1_000)
    await broker.close()
    envelopes = [decode_envelope(message.payload, KEY_FIELD) for message in messages]
    return [(e, msgspec.json.decode(e.data, type=Notice)) for e in envelopes if isinstance(e, Envelope)]


# --------------------------------------------------------------------------- commands that nobody can read


def a_shop_of_an_older_release() -> World:
    """Its payments know how to give money back, and not how to take it."""
    payments = Service(PAYMENTS)

    @payments.undoes
    def _(sql: Sql, command: RefundPayment) -> PaymentRefunded:
        return PaymentRefunded(order_id=command.order_id)

    return World(
        [order_saga.definition],
        {orders: ORDERS_TABLES, inventory: INVENTORY_TABLES, payments: (), shipping: SHIPPING_TABLES},
        may_be_older=True,
    )


async def test_an_order_whose_command_nobody_understands_turns_back_at_once() -> None:
    async with a_shop_of_an_older_release() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        assert shop.clock.now_ms() == 1_700_000_000_000, "nobody waited for a timeout"
        instance = order(shop, "o-1")
        reason = "payments does not understand 'payment.process', only payment.refund"
        assert (instance.state, instance.cause) == ("compensated", f"pay: Undeliverable ({reason})")
        assert effects(instance) == {"create": "undone", "reserve": "undone", "pay": "refused"}
        (letter,) = shop.stores["payments"].dead_letters(9)
        ((envelope, notice),) = await told(shop)
        assert (envelope.event_type, envelope.key, notice.read_by) == (EVENT_TYPE, "o-1", "payments")
        assert (notice.reason, notice.topic, notice.offset) == (reason, letter.topic, letter.offset)
        assert b64decode(notice.payload) == letter.payload
        assert notice.headers == letter.headers


async def test_what_the_orchestrator_cannot_read_is_kept_and_told() -> None:
    async with a_shop() as shop:
        broker = MemoryBroker(shop.broker)
        await broker.publish([foreign("orders", "o-1", b"\xff\xfe")])
        await broker.close()
        await shop.work()
        (letter,) = shop.store.dead_letters(9)
        ((envelope, notice),) = await told(shop)
        assert notice.read_by == "orchestrator"
        assert (envelope.key, letter.key) == (letter.message_id, letter.message_id), "its own key cannot be read"
        assert (letter.size, letter.is_whole, b64decode(notice.payload)) == (2, True, b"\xff\xfe")


async def test_a_delivery_that_is_repeated_is_one_dead_letter() -> None:
    async with a_shop() as shop:
        broker = MemoryBroker(shop.broker)
        await broker.publish([foreign("payments-commands", "o-1", b"{}"), foreign("orders", "o-1", b"{}")])
        await broker.close()
        for name in ("payments", "orchestrator"):
            node = shop.nodes[name]
            await node.turn()
            await node.kill()
            await node.start()
        await shop.work()
        payments = shop.stores["payments"]
        (letter,) = payments.dead_letters(9)
        again = Incoming(
            id=letter.message_id,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            timestamp_ms=shop.clock.now_ms(),
            payload=letter.payload,
        )
        service = Service(PAYMENTS)
        for now_ms in (1, 2):
            service.process([again], payments, now_ms)
        assert len(payments.dead_letters(9)) == 1
        assert len(shop.store.dead_letters(9)) == 1


# --------------------------------------------------------------------------- bounds


def incoming(payload: bytes, headers: dict[str, str] | None = None, defect: str = "") -> Incoming:
    return Incoming(
        id="0193a5b0-0000-7000-8000-000000000001",
        topic="orders",
        partition=1,
        offset=2**64 - 1,
        timestamp_ms=2**63,
        payload=payload,
        headers=headers or {},
        defect=defect,
    )


@pytest.mark.parametrize(
    ("message", "is_whole"),
    [
        (incoming(b"x" * PAYLOAD_KEPT_MAX), True),
        (incoming(b"x" * (PAYLOAD_KEPT_MAX + 1)), False),
        (incoming(b"\0" * 64_000_000), False),
        (incoming(b"x", {"a": "b" * HEADERS_KEPT_MAX}), False),
        (incoming(b"x", {str(n): "\0" * 255 for n in range(390)}), False),
        (incoming(b"x", {chr(n): "é" for n in range(0x100, 0x800)}), False),
        (incoming(b"x", defect="headers: no text"), False),
        (incoming(b"x", {"lone": "\ud800"}), False),
    ],
    ids=[
        "just fits",
        "a byte more",
        "64 MB",
        "long header",
        "many headers",
        "many tiny headers",
        "unreadable headers",
        "lone surrogate",
    ],
)
def test_a_letter_and_its_notice_are_bounded_whatever_comes(message: Incoming, is_whole: bool) -> None:
    letter, row = dead_letter(message, "r\0" * 5_000, 1, read_by="orchestrator", key_field="order_id")
    assert (letter.size, letter.is_whole, len(letter.payload)) == (
        len(message.payload),
        is_whole,
        min(len(message.payload), PAYLOAD_KEPT_MAX),
    )
    assert letter.offset == 2**63 - 1
    assert isinstance(decode_envelope(row.payload, KEY_FIELD), Envelope), "it is a message that can be read"


# --------------------------------------------------------------------------- the engine's own failures


class Weighed(Event, tag="parcel.weighed"):
    parcel_id: str
    note: object = ""


class Weigh(Command[Weighed], tag="parcel.weigh"):
    parcel_id: str
    grams: object


class Parcel(msgspec.Struct, frozen=True):
    parcel_id: str


class ParcelSent(Event, tag="parcel.sent"):
    parcel_id: str


SCALES = Participant("scales", key="parcel_id")
parcel_saga = Saga("parcel", Parcel, version=1)


@parcel_saga.start(on=SCALES)
def begin(event: ParcelSent) -> Parcel:
    return Parcel(event.parcel_id)


@parcel_saga.step(to=SCALES, timeout=9, unknown="hold", leaves_nothing=True)
def weigh(parcel: Parcel) -> Weigh:
    if parcel.parcel_id == "none":
        return None  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - a forgotten return
    # What JSON cannot say cannot be sent.
    return Weigh(parcel_id=parcel.parcel_id, grams=object() if parcel.parcel_id == "bad" else 1)


weigh.reply(unchanged)
parcel_saga.flow(weigh)
scales = Service(SCALES)


@scales.handles
def weigh_it(sql: Sql, command: Weigh) -> Weighed:
    if command.parcel_id == "ended":
        sql.execute("INSERT OR ROLLBACK INTO processed_events SELECT 'x', 1, 'x' UNION ALL SELECT 'x', 1, 'x'")
    # A reply that JSON cannot say.
    return Weighed(parcel_id=command.parcel_id, note=object() if command.parcel_id == "unwritable" else "")


def _fails_on_bad(definition: Definition, instance: Instance, send: Send, now_ms: int) -> OutboxRow:
    """A bug of the engine's own, which is none of the author's code."""
    if instance.key == "planted":
        raise TypeError("a planted bug")
    return command_row(definition, instance, send, now_ms)


async def test_a_message_the_engine_fails_on_is_tried_again_three_times_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sagas.runtime.deciding.command_row", _fails_on_bad)
    async with World([parcel_saga.definition], {scales: ()}) as world:
        for key in ("good-1", "planted", "good-2"):
            await world.publish_start("parcel", ParcelSent(parcel_id=key))
        await world.settle()
        assert world.instance("parcel", "good-1").state == world.instance("parcel", "good-2").state == "completed"
        assert world.store.instance("parcel", "planted") is None
        (letter,) = world.store.dead_letters(9)
        first = letter.headers[Header.FIRST_ID]
        assert letter.message_id != first
        assert (letter.attempts, letter.headers[Header.RETRY_COUNT]) == (RETRIES_MAX + 1, "3")
        assert letter.reason.startswith("this engine failed on it: TypeError: ")
        ((_, notice),) = await told(world)
        assert notice.attempts == RETRIES_MAX + 1


async def test_a_timer_the_engine_fails_on_is_put_off_and_the_others_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World([parcel_saga.definition], {scales: ()}) as world:
        await world.nodes["scales"].kill()
        for key in ("good-1", "planted", "good-2"):
            await world.publish_start("parcel", ParcelSent(parcel_id=key))
        await world.settle(within_s=1)
        monkeypatch.setattr("sagas.runtime.deciding.command_row", _fails_on_bad)
        await world.settle(within_s=60)
        assert {key: world.instance("parcel", key).state for key in ("good-1", "planted", "good-2")} == {
            "good-1": "stuck",
            "planted": "weigh.pending",
            "good-2": "stuck",
        }
        monkeypatch.undo()
        await world.settle(within_s=600)
        assert world.instance("parcel", "planted").state == "stuck", "it went on where the bug was mended"


@pytest.mark.parametrize("key", ["bad", "none"])
async def test_a_command_that_is_none_or_cannot_be_sent_leaves_its_run_stuck(key: str) -> None:
    async with World([parcel_saga.definition], {scales: ()}) as world:
        await world.publish_start("parcel", ParcelSent(parcel_id=key))
        await world.settle()
        instance = world.instance("parcel", key)
        assert instance.state == "stuck"
        assert "weigh: building its do raised TypeError: " in instance.reason
        assert world.store.dead_letters(9) == []


async def test_a_command_that_ends_the_transaction_is_answered_in_the_end_and_the_others_are_carried_out() -> None:
    async with World([parcel_saga.definition], {scales: ()}) as world:
        for key in ("good-1", "ended", "good-2"):
            await world.publish_start("parcel", ParcelSent(parcel_id=key))
        await world.settle()
        assert {world.instance("parcel", key).state for key in ("good-1", "good-2")} == {"completed"}
        instance = world.instance("parcel", "ended")
        assert instance.state == "rejected"
        assert "this engine failed on it" in instance.cause
        (letter,) = world.stores["scales"].dead_letters(9)
        assert letter.attempts == RETRIES_MAX + 1


async def test_a_reply_that_nobody_could_read_is_a_fault_and_not_remembered() -> None:
    async with World([parcel_saga.definition], {scales: ()}) as world:
        await world.publish_start("parcel", ParcelSent(parcel_id="unwritable"))
        await world.settle()
        instance = world.instance("parcel", "unwritable")
        assert instance.state == "stuck"
        assert "TypeError" in instance.reason
        assert world.stores["scales"].dead_letters(9) == []


@pytest.mark.parametrize(
    ("said", "count"), [("", 0), ("2", 2), ("-1", 0), ("1e9", 0), ("٣", 0), ("9" * 400, 0), ("77", RETRIES_MAX)]
)
def test_a_retry_count_that_anybody_wrote_is_read_within_bounds(said: str, count: int) -> None:
    assert retry_count(incoming(b"x", {Header.RETRY_COUNT: said})) == count


def test_a_message_published_again_has_an_id_of_its_own_the_same_after_a_crash() -> None:
    message = incoming(b'{"id":"x"}', {"a": "b"})
    first = published_again(message, 1, read_by="orchestrator", key_field="order_id")
    again = published_again(message, 2, read_by="orchestrator", key_field="order_id")
    assert first is not None
    assert again is not None
    assert first.id == again.id != message.id
    assert (first.topic, first.payload) == (message.topic, message.payload)
    assert first.headers == {"a": "b", Header.RETRY_COUNT: "1", Header.FIRST_ID: message.id}
    assert published_again(incoming(b"x", {"a": "b" * 20_000}), 1, read_by="o", key_field="k") is None


@pytest.mark.parametrize("said", ["", "x", "9" * 70_000, "0199CDE2-5400-7A51-8D4C-6F1F3F0A8F11", "\0" * 36])
def test_a_first_id_that_is_none_is_passed_over(said: str) -> None:
    message = incoming(b'{"id":"x"}', {Header.FIRST_ID: said})
    row = published_again(message, 1, read_by="o", key_field="k")
    assert row is None or row.headers[Header.FIRST_ID] == message.id
    assert first_id(message.id, message.headers) == message.id


def test_a_message_that_is_published_again_and_again_keeps_its_first_id() -> None:
    message = incoming(b'{"id":"x"}')
    second = published_again(message, 1, read_by="o", key_field="k")
    assert second is not None
    letter, _ = dead_letter(
        msgspec.structs.replace(message, id=second.id, headers=second.headers), "", 1, read_by="o", key_field="k"
    )
    third = requeued(letter, 2)
    assert len({message.id, second.id, third.id}) == 3
    assert first_id(third.id, third.headers) == first_id(second.id, second.headers) == message.id


async def test_a_start_and_a_reply_out_of_the_dead_letters_are_harmless_for_a_saga_that_has_settled() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        before = order(shop, "o-1")
        shipped = (
            b'{"id":"x","order_id":"o-1","event_type":"order.shipped","timestamp":"2025-01-01T00:00:00Z",'
            b'"data":{"tracking":"t"}}'
        )
        headers = {Header.INSTANCE: before.id, Header.STEP: "ship", Header.OPERATION: "do"}
        broker = MemoryBroker(shop.broker)
        await broker.publish([foreign("shipping", "o-1", shipped, n, headers) for n in range(3)])
        await broker.publish(
            [Outgoing(id=before.id, topic="shipping-commands", key="o-1", payload=b"{}", headers=headers)]
        )
        await broker.close()
        await shop.work()
        after = order(shop, "o-1")
        assert (after.state, effects(after)) == ("completed", effects(before))
        assert shop.store.dead_letters(9) == []
