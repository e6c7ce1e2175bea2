"""The topic `event-store`: every journal row is told, in order, and nothing else, whatever dies in between."""

from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec
import pytest

from sagas import Event, Key, Participant
from sagas.broker.memory import MemoryBroker
from sagas.core.effects import Fire, Input, Operate, Reply, Start
from sagas.core.envelope import PAYLOAD_BYTES_MAX, encode_envelope
from sagas.core.ids import timed_id
from sagas.errors import BrokerUnavailable
from sagas.ports import Incoming, InstanceFilter, JournalRow, OutboxRow, Outgoing, ParticipantStore, Sql
from sagas.runtime.consumer import Consumer, ConsumerWork
from sagas.runtime.consumer import Seen as EventSeen
from sagas.runtime.event_store import (
    EVENT_STORE,
    MESSAGE_BYTES_MAX,
    WORDS_MAX,
    Happened,
    JournalOutbox,
    feed,
    input_json,
    input_of,
    read_happened,
)
from sagas.runtime.projection import Projection, ProjectionWork, Seen
from sagas.runtime.worker import Work
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.world import World, inline
from tests.runtime.shop import a_shop, an_order, order

pytestmark = pytest.mark.anyio


async def messages(world: World) -> list[Incoming]:
    """Everything in the topic, partition by partition."""
    broker = MemoryBroker(world.broker)
    subscription = await broker.subscribe("a reader", [EVENT_STORE])
    found: list[Incoming] = []
    while batch := await subscription.poll(1_000):
        found += batch
    await broker.close()
    return sorted(found, key=lambda message: (message.partition, message.offset))


async def told(world: World) -> list[Happened]:
    happened = [read_happened(message) for message in await messages(world)]
    return [entry for entry in happened if not isinstance(entry, str)]


def of(key: str, happened: Sequence[Happened]) -> list[JournalRow]:
    return [entry.entry() for entry in happened if entry.key == key]


async def test_the_topic_has_the_journal_of_every_instance_and_nothing_else() -> None:
    async with a_shop(with_event_store=True) as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("declined", card="card-declined"))
        await shop.publish_start("order", an_order("silent", card="card-silent"))
        await shop.settle()
        happened = await told(shop)
        for key in ("good", "declined", "silent"):
            assert of(key, happened) == shop.store.journal(order(shop, key).id)
        assert (
            len(happened)
            == len(await messages(shop))
            == sum(len(shop.store.journal(i.id)) for i in shop.store.instances(InstanceFilter()))
        )


async def test_a_message_tells_a_reader_who_knows_no_saga_what_happened() -> None:
    async with a_shop(with_event_store=True) as shop:
        await shop.publish_start("order", an_order("o-1", card="card-declined"))
        await shop.settle()
        message = next(m for m in await messages(shop) if b"payment.failed" in m.payload)
        outer = msgspec.json.decode(message.payload)
        data = outer["data"]
        assert (outer["id"], outer["key"], outer["event_type"]) == (message.id, "o-1", "saga.happened")
        assert (data["saga"], data["version"], data["key"]) == ("order", order(shop, "o-1").version, "o-1")
        assert data["instance_id"] == order(shop, "o-1").id
        assert data["input"]["type"] == "reply"
        assert data["input"]["data"]["reason"] == "card declined"
        assert data["path"] == ["pay.pending", "reserve.undoing"]
        assert data["state"] == "reserve.undoing"
        assert "card declined" in data["words"]


async def test_the_last_row_told_of_an_instance_says_where_it_stands() -> None:
    async with a_shop(with_event_store=True) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        last = [entry for entry in await told(shop) if entry.key == "o-1"][-1]
        assert (last.state, last.revision) == ("completed", order(shop, "o-1").revision)


async def test_the_topic_never_expires_and_the_business_key_chooses_the_partition() -> None:
    async with a_shop(with_event_store=True) as shop:
        for number in range(12):
            await shop.publish_start("order", an_order(f"o-{number}"))
        await shop.settle()
        partitions: dict[str, set[int]] = {}
        for message in await messages(shop):
            partitions.setdefault(msgspec.json.decode(message.payload)["key"], set()).add(message.partition)
        assert len(partitions) == 12
        assert {len(found) for found in partitions.values()} == {1}
        assert {partition for found in partitions.values() for partition in found} == {0, 1, 2}


async def test_a_history_that_is_older_than_the_feed_is_told_when_it_is_begun() -> None:
    async with a_shop() as shop:
        await shop.publish_start("order", an_order("old"))
        await shop.settle()
        assert await messages(shop) == []
        shop.store.begin_feed()
        await feed(JournalOutbox(shop.store), MemoryBroker(shop.broker), shop.clock, inline).drain()
        assert of("old", await told(shop)) == shop.store.journal(order(shop, "old").id)


class _Dies(Exception):
    """The process is gone."""


class _Faulty(MemoryBroker):
    """A broker whose publishing fails where it is told to."""

    def __init__(self, world: World, fails: Callable[[int], str]) -> None:
        super().__init__(world.broker)
        self._fails = fails
        self._calls = 0

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        self._calls += 1
        how = self._fails(self._calls)
        if how == "before":
            raise BrokerUnavailable("not sent")
        await super().publish(messages[: len(messages) // 2] if how == "half" else messages)
        if how:
            raise _Dies if how == "dies" else BrokerUnavailable("the answer got lost")


@pytest.mark.parametrize("how", ["before", "half", "after", "dies"])
@pytest.mark.parametrize("batch_max", [1, 3, 500])
async def test_a_crash_anywhere_repeats_rows_in_their_order_and_never_leaves_a_gap(how: str, batch_max: int) -> None:
    async with a_shop() as shop:
        shop.store.begin_feed()
        for number in range(4):
            await shop.publish_start(
                "order", an_order(f"o-{number}", card="card-declined" if number % 2 else "card-ok")
            )
        await shop.settle()
        broker = _Faulty(shop, lambda call: how if call % 2 else "")
        for _ in range(200):
            # Every process begins with nothing but what the database says.
            relay = feed(JournalOutbox(shop.store), broker, shop.clock, inline, batch_max=batch_max)
            try:
                await relay.drain()
                break
            except (BrokerUnavailable, _Dies):
                continue
        happened = await told(shop)
        for number in range(4):
            journal = shop.store.journal(order(shop, f"o-{number}").id)
            rows = of(f"o-{number}", happened)
            firsts = [row for place, row in enumerate(rows) if row not in rows[:place]]
            assert firsts == journal
        ids = [message.id for message in await messages(shop)]
        assert len(set(ids)) == sum(len(shop.store.journal(order(shop, f"o-{n}").id)) for n in range(4))
        assert how in ("before", "half") or len(ids) > len(set(ids)), "nothing was told twice: no crash was between"


async def test_a_killed_orchestrator_tells_what_its_earlier_life_committed() -> None:
    async with a_shop(with_event_store=True) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.nodes["orders"].kill()
        orchestrator = shop.nodes["orchestrator"]
        await orchestrator.turn()
        await orchestrator.kill()
        for name in ("orders", "orchestrator"):
            await shop.nodes[name].start()
        await shop.settle()
        assert of("o-1", await told(shop)) == shop.store.journal(order(shop, "o-1").id)


@pytest.mark.parametrize(
    "message",
    [
        Start(key="o-1", data=b'{"a": [1, 2.50, "\xc3\xa4"]}'),
        Start(key="o-1", data=b"null"),
        Reply(step="pay", operation="undo", event_type="payment.refunded", data=b'{"amount":"1.00"}', attempt=3),
        Reply(step="pay", operation="do", event_type="payment.done", data=b""),
        Fire(kind="timeout", step="pay", attempt=2),
        Operate(action="cancel", who="Zoë", reason='because "so"', revision=7),
    ],
)
def test_an_input_comes_back_from_json_byte_for_byte(message: Input) -> None:
    assert input_of(input_json(msgspec.msgpack.encode(message))) == message


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b'{"type":"leap"}', b'{"type":"fire"}', b'{"type":7}'])
def test_an_input_of_another_release_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="no input that this release knows"):
        input_of(content)


def test_an_input_that_cannot_be_read_is_told_as_null() -> None:
    assert input_json(b"\xc1") == b"null"


def test_words_are_cut_and_a_hostile_message_is_told_apart() -> None:
    assert WORDS_MAX == 500
    message = Incoming(id="x", topic=EVENT_STORE, partition=0, offset=0, timestamp_ms=0, payload=b'{"data": 1}')
    assert "ValidationError" in str(read_happened(message))
    assert "at most" in str(read_happened(msgspec.structs.replace(message, payload=b" " * 600_000)))


class Told(Event, tag="saga.happened"):
    """An entry of the journal, as far as it is read here."""

    key: Key
    revision: int


def make_table(sql: Sql) -> None:
    """What both write to."""
    sql.execute("CREATE TABLE told (key TEXT)")


def note_it(sql: Sql, event: Told, seen: Seen) -> None:
    """Note whose it is."""
    sql.execute("INSERT INTO told VALUES (?)", (event.key,))


def tell_on(sql: Sql, seen: EventSeen) -> Sequence[OutboxRow]:
    """Note the same."""
    sql.execute("INSERT INTO told VALUES (?)", (seen.key,))
    return ()


@pytest.mark.parametrize(
    ("topic", "size", "is_read"),
    [
        (EVENT_STORE, MESSAGE_BYTES_MAX, True),
        (EVENT_STORE, MESSAGE_BYTES_MAX + 1, False),
        ("doc", PAYLOAD_BYTES_MAX, True),
        ("doc", PAYLOAD_BYTES_MAX + 1, False),
    ],
)
def test_whoever_reads_events_reads_every_entry_of_the_journal_however_long(
    topic: str, size: int, is_read: bool
) -> None:
    # An entry holds a message of another topic, which may be as long as any, and some words more.
    source = Participant(topic, key="key")
    projection = Projection("lengths", [("001-told", make_table)])
    projection.on(source)(note_it)
    empty = encode_envelope("x", "key", "o-1", "saga.happened", 1, b'{"revision":1,"words":""}')
    data = b'{"revision":1,"words":"%s"}' % (b"x" * (size - len(empty)))
    payload = encode_envelope("x", "key", "o-1", "saga.happened", 1, data)
    assert len(payload) == size
    incoming = Incoming(id=timed_id(1, "x"), topic=topic, partition=0, offset=0, timestamp_ms=1, payload=payload)
    works: list[Callable[[ParticipantStore], Work]] = [
        lambda store: ProjectionWork(projection, store, kept_ms=1),
        lambda store: ConsumerWork(Consumer("letters", (source,), tell_on), store, kept_ms=1),
    ]
    for work_on in works:
        with closing(SqliteParticipantStore(":memory:", projection.migrations)) as store:
            work_on(store).process([incoming], 1)
            with store.transaction() as transaction:
                found = transaction.sql.execute("SELECT key FROM told").fetchall()
            assert (found, len(store.dead_letters(9))) == (([("o-1",)], 0) if is_read else ([], 1))
