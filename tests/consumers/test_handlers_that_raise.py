"""A handler of a consumer or a projection that raises is tried again in its place, before there is a dead letter."""

import re
from collections.abc import Sequence
from contextlib import closing
from uuid import UUID

import anyio
import pytest
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from sagas import Event, Participant
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.core.envelope import encode_message
from sagas.core.ids import timed_id
from sagas.ports import Incoming, OutboxRow, Outgoing, Sql, TopicSpec
from sagas.runtime.consumer import Consumer, ConsumerWork, Seen
from sagas.runtime.handlers import HandlerError
from sagas.runtime.projection import Projection, ProjectionWork
from sagas.runtime.projection import Seen as SeenByProjection
from sagas.runtime.relay import Relay
from sagas.runtime.worker import HANDLER_PAUSES_MS, Delivery, Worker
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from tests.consumers.reader import Reader

pytestmark = pytest.mark.anyio

BANK = Participant("bank", key="account")
BEGUN_MS = 1_700_000_000_000
ID = timed_id(BEGUN_MS, "a letter")


class Paid(Event, tag="paid"):
    account: str


async def pay(world: MemoryWorld, *accounts: str) -> None:
    """Have one event come for each, one behind the other."""
    broker = MemoryBroker(world)
    await broker.ensure([TopicSpec(name=BANK.events, partitions=1)])
    for number, account in enumerate(accounts):
        message_id = timed_id(BEGUN_MS, str(number))
        payload = encode_message(
            Paid(account=account), message_id=message_id, key_field="account", key=account, now_ms=1
        )
        await broker.publish([Outgoing(id=message_id, topic=BANK.events, key=account, payload=payload)])
    await broker.close()


class Mail:
    """Sends letters, and fails `failures` times to do so for `b`; notes when it was asked."""

    def __init__(self, clock: VirtualClock, failures: int, *, delivery: Delivery = "at-least-once") -> None:
        self._clock = clock
        self._failures = failures
        self.asked_ms: list[int] = []
        self.sent: list[str] = []
        self.consumer = Consumer("mail", (BANK,), self.send, delivery=delivery)

    def send(self, sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        """The handler."""
        if seen.key == "b":
            self.asked_ms.append(self._clock.now_ms() - BEGUN_MS)
            if len(self.asked_ms) <= self._failures:
                raise ValueError("boom")
        self.sent.append(seen.key)
        return ()


async def a_reader(mail: Mail, world: MemoryWorld, clock: VirtualClock) -> Reader:
    reader = Reader(mail.consumer, (), world, clock, pauses_ms=HANDLER_PAUSES_MS)
    await reader.start()
    return reader


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(BEGUN_MS, is_automatic=True)


async def test_a_handler_that_raises_for_a_moment_loses_nothing_and_what_stands_behind_waits(
    clock: VirtualClock,
) -> None:
    world, mail = MemoryWorld(clock), Mail(clock, failures=3)
    await pay(world, "b", "c")
    reader = await a_reader(mail, world, clock)
    await reader.run()
    # The first is the batch's, the second alone.
    assert mail.asked_ms == [0, 0, 200, 1_200]
    assert mail.sent == ["b", "c"]
    assert reader.store.dead_letters(9) == []


async def test_a_handler_that_goes_on_raising_has_a_letter_that_says_how_often_and_what(clock: VirtualClock) -> None:
    world, mail = MemoryWorld(clock), Mail(clock, failures=99)
    await pay(world, "b", "c")
    reader = await a_reader(mail, world, clock)
    await reader.run()
    (letter,) = reader.store.dead_letters(9)
    assert (letter.attempts, letter.reason) == (4, "its handler raised ValueError: boom")
    assert mail.asked_ms == [0, 0, 200, 1_200, 6_200]
    assert mail.sent == ["c"]


@pytest.mark.parametrize(("delivery", "letters"), [("at-least-once", 0), ("at-most-once", 1)])
async def test_a_process_that_is_to_stop_between_two_tries_leaves_the_message_to_the_next_if_it_may(
    delivery: Delivery, letters: int
) -> None:
    clock, stop = VirtualClock(BEGUN_MS), anyio.Event()
    world, mail = MemoryWorld(clock), Mail(clock, failures=99, delivery=delivery)
    await pay(world, "a", "b", "c")
    reader = await a_reader(mail, world, clock)
    with anyio.fail_after(9):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.work_until, stop)
            while not clock.sleepers:
                await checkpoint()
            stop.set()
    assert len(reader.store.dead_letters(9)) == letters
    await reader.leave()
    mended = Mail(clock, failures=0, delivery=delivery)
    reader = await a_reader(mended, world, clock)
    await reader.run()
    # Read again or put away: in no case is it passed over in silence.
    assert mended.sent == (["a", "b", "c"] if delivery == "at-least-once" else [])


async def test_an_event_that_a_projection_raises_on_for_a_moment_leaves_no_hole(clock: VirtualClock) -> None:
    balances, tries = Projection("balances"), list[str]()

    @balances.on(BANK)
    def paid(sql: Sql, event: Paid, seen: SeenByProjection) -> None:
        tries.append(event.account)
        if event.account == "x" or tries.count("b") in (1, 2, 3):
            raise ValueError("boom")

    world = MemoryWorld(clock)
    await pay(world, "b", "x")
    store, broker = SqliteParticipantStore(":memory:", balances.migrations), MemoryBroker(world)
    subscription = await broker.subscribe("balances", balances.topics)
    relay = Relay(store, broker, clock, inline)
    worker = Worker(ProjectionWork(balances, store, kept_ms=1_000_000), subscription, relay, clock, inline)
    while await worker.turn():
        pass
    (letter,) = store.dead_letters(9)
    assert (letter.key, letter.attempts, letter.reason) == ("x", 4, "its handler raised ValueError: boom")
    assert (tries.count("b"), tries.count("x")) == (4, 4)
    store.close()


async def test_a_row_to_a_topic_that_is_not_named_is_refused_and_keeps_nothing_from_going_out() -> None:
    def tell(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        return [
            OutboxRow(
                id=timed_id(BEGUN_MS, "told", seen.id),
                event_type="told",
                payload=seen.payload,
                created_at=BEGUN_MS,
                aggregate_type="account",
                aggregate_id=seen.key,
                topic="tolld" if seen.key == "b" else "told",
                key=seen.key,
            )
        ]

    clock = VirtualClock(BEGUN_MS)
    world = MemoryWorld(clock)
    await pay(world, "a", "b", "c")
    consumer = Consumer("teller", (BANK,), tell, publishes=[TopicSpec(name="told")])
    with closing(SqliteParticipantStore(":memory:")) as store:
        work = ConsumerWork(consumer, store, kept_ms=1)
        messages = await all_of(world)
        work.process(messages[:1], BEGUN_MS)
        with pytest.raises(HandlerError, match=r"consumer 'teller'.*topic 'tolld', and `publishes` names told; add"):
            work.process(messages[1:2], BEGUN_MS)
        work.process(messages[2:], BEGUN_MS)
        assert [row.key for row in store.unpublished(9)] == ["a", "c"]


async def all_of(world: MemoryWorld) -> Sequence[Incoming]:
    """Everything that stands in the bank's topic."""
    reader = MemoryBroker(world)
    found = await (await reader.subscribe("all", [BANK.events])).poll(99)
    await reader.close()
    return found


async def test_a_message_whose_texts_nobody_could_read_is_a_dead_letter_at_once(clock: VirtualClock) -> None:
    texts: list[str] = []

    def read(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        texts.append(seen.data.decode())
        return ()

    world = MemoryWorld(clock)
    await pay(world, "a")
    broker = MemoryBroker(world)
    payload = (
        b'{"id":"b-1","account":"b","event_type":"paid","timestamp":"2025-01-01T00:00:00Z","data":{"by":"Jos\xe9"}}'
    )
    await broker.publish([Outgoing(id=ID, topic=BANK.events, key="b", payload=payload)])
    reader = Reader(Consumer("mail", (BANK,), read), (), world, clock, pauses_ms=HANDLER_PAUSES_MS)
    await reader.start()
    await reader.run()

    (letter,) = reader.store.dead_letters(9)
    assert (letter.reason, letter.attempts) == ("payload is no UTF-8: invalid continuation byte at byte 98", 1)
    assert (texts, clock.now_ms()) == (["{}"], BEGUN_MS)


OUT = TopicSpec(name="letters")


@pytest.mark.parametrize(
    ("topic", "message_id", "payload", "headers", "said"),
    [
        ("elsewhere", ID, b"{}", {}, "to topic 'elsewhere', and `publishes` names letters"),
        ("letters", "b-1", b"{}", {}, "with the id 'b-1'; expected a UUID"),
        ("letters", str(UUID(int=0)), b"{}", {}, "with the id '0000.*; expected a UUID"),
        ("letters", ID, b"", {}, "without a payload"),
        ("letters", ID, b"{}", {"why": "é" * 128}, "with the header 'why': .* into the payload"),
        ("letters", ID, b"{}", {"": "b"}, "with the header '': "),
    ],
)
async def test_what_no_broker_would_take_is_a_dead_letter_and_keeps_nothing_behind_it(
    clock: VirtualClock, topic: str, message_id: str, payload: bytes, headers: dict[str, str], said: str
) -> None:
    def write(sql: Sql, seen: Seen) -> Sequence[OutboxRow]:
        good = OutboxRow(
            id=seen.id, event_type="letter", payload=b"{}", created_at=1, aggregate_type="mail", aggregate_id=seen.key,
            topic=OUT.name, key=seen.key,
        )  # fmt: skip
        bad = replace(good, topic=topic, id=message_id, payload=payload, headers=headers)
        return [good, bad] if seen.key == "b" else [good]

    world = MemoryWorld(clock)
    await pay(world, "a", "b", "c")
    reader = Reader(Consumer("mail", (BANK,), write, publishes=[OUT]), (), world, clock)
    await reader.start()
    await reader.run()

    (letter,) = reader.store.dead_letters(9)
    assert (letter.key, reader.store.unpublished(9)) == ("b", [])
    assert re.search(said, letter.reason)
    broker = MemoryBroker(world)
    letters = await (await broker.subscribe("everybody", [OUT.name])).poll(9)
    assert [message.payload for message in letters] == [b"{}"] * 2
