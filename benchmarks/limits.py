"""What the parts allow, measured in the same run: the fewest rows, the client's messages, codec and kernel.

A figure of the engine says little on a noisy machine; its share of these says how much of what is possible is used.
Each is of an order that completes: one start, four commands, four answers. The orchestrator's own rows are measured
beside its saturation (`load.py`).
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

import msgspec

from benchmarks.answers import DEFINITION, REPLIES, reply_events
from benchmarks.figures import Sheet
from benchmarks.own_rows import BATCH, SAGAS, own_rows_s, written_for
from benchmarks.system import a_place
from sagas.broker.iggy import IggyBroker
from sagas.core.effects import Decision, Reply, Send, Start
from sagas.core.envelope import decode_data, decode_envelope, encode_message
from sagas.core.ids import derived_id, instance_id
from sagas.core.kernel import decide
from sagas.core.messages import Command, Event
from sagas.ports import Outgoing, Position, TopicSpec
from services.contracts import Item, OrderCreated
from services.orders.saga import OrderData
from services.place import Place
from services.processes import BROKER, Fleet

if TYPE_CHECKING:
    import sqlite3 as sqlite
else:
    import pysqlite3 as sqlite

NOW_MS = 1_760_000_000_000
ORDERS = 300
"""One after the other, for the limit of an order that is alone."""

ROUNDS = 3

TRANSACTIONS = 5
"""Of the orchestrator, for an order that completes: one for its start and one for each answer."""

_ORDER = OrderData("o-1", (Item("123", 2),), "59.98", "card-ok", "1 Harbour Street")


def limit_rows(sheet: Sheet) -> None:
    """All of them, and the engine's shares, as far as its own figures stand on the sheet."""
    sheet.note("one decision of the kernel", _decide_us(), "µs")
    sheet.note("codec alone: an order's messages read and written", _codec_us(), "µs")
    fewest = median(_fewest_rows_per_second() for _ in range(ROUNDS))
    sheet.note("limit: the fewest rows that would do, bare executemany", fewest, "sagas/s", better="more")
    ours = sheet.latest("sagas at saturation")
    if ours is not None:
        sheet.note("share of the limit of the fewest rows", ours / fewest, better="more")


async def client_rows(sheet: Sheet) -> None:
    """What the bare client sends and polls, in sagas a second."""
    with a_place() as place:
        brokers = [program for program in place.programs if program.name == BROKER]
        with Fleet(place.folder, brokers, place.environ({})) as fleet:
            fleet.start()
            bare = median([await _messages_per_second(place) / 9 for _ in range(ROUNDS)])
    sheet.note("limit: its messages, sent and polled by the bare client", bare, "sagas/s", better="more")
    ours = sheet.latest("sagas at saturation")
    if ours is not None:
        sheet.note("share of the bare client's limit", ours / bare, better="more")


# --------------------------------------------------------------------------- the kernel, the codec


def completed_run() -> Iterator[tuple[Start | Reply, Decision]]:
    """An order that completes: each input and what was decided."""
    start = Start(key="o-1", data=DEFINITION.encode_data(_ORDER))
    inputs: list[Start | Reply] = [start]
    inputs += [Reply(step=s, operation="do", event_type=t, data=d) for s, (t, d) in REPLIES.items()]
    instance = None
    for message in inputs:
        decision = decide(DEFINITION, instance, message, NOW_MS)
        instance = decision.instance
        yield message, decision


def _sent(decision: Decision) -> list[Send]:
    return [effect for effect in decision.effects if isinstance(effect, Send)]


def _decide_us() -> float:
    count = 300

    def once() -> None:
        for _ in range(count):
            *_, (_, last) = completed_run()
            assert last.instance is not None
            assert last.instance.state == "completed"

    return _best_us(once) / count / (len(REPLIES) + 1)


def _codec_us() -> float:
    count = 300
    event = OrderCreated(order_id="o-1", items=_ORDER.items, total=_ORDER.total)
    answers: list[tuple[type[Event], bytes]] = [
        (type(message), _written(message)) for message in (event, *reply_events("o-1").values())
    ]
    commands = [send.command for _, decision in completed_run() for send in _sent(decision)]

    def once() -> None:
        for _ in range(count):
            for reply, payload in answers:
                envelope = decode_envelope(payload, "order_id")
                decode_data(reply, "order_id", "o-1", getattr(envelope, "data", b""))
            for command in commands:
                _written(command)

    return _best_us(once) / count


def _written(message: Event | Command[Event]) -> bytes:
    return encode_message(message, message_id=str(UUID(int=7)), key_field="order_id", key="o-1", now_ms=NOW_MS)


def _best_us(work: Callable[[], None]) -> float:
    took: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e6)
    return min(took)


# --------------------------------------------------------------------------- the rows

_SCHEMA = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "CREATE TABLE instances (id BLOB PRIMARY KEY, key TEXT UNIQUE, state TEXT, revision INTEGER, record BLOB)",
    "CREATE TABLE journal (instance BLOB, revision INTEGER, message BLOB, input BLOB)",
    "CREATE TABLE inbox (id BLOB PRIMARY KEY, seen_at INTEGER) WITHOUT ROWID",
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, id BLOB, payload BLOB)",
)


class _Rows(NamedTuple):
    """What one message of an order writes: the instance's record, the journal's input, what is sent."""

    record: bytes
    message: bytes
    sent: bytes


def _rows_of_run() -> list[_Rows]:
    return [
        _Rows(
            msgspec.msgpack.encode(decision.instance),
            msgspec.msgpack.encode(message),
            b"".join(_written(send.command) for send in _sent(decision)),
        )
        for message, decision in completed_run()
    ]


def _ids(count: int) -> list[bytes]:
    parent = instance_id("order", "o-1", NOW_MS)
    return [UUID(derived_id(parent, str(number))).bytes for number in range(count)]


@contextmanager
def _databases(count: int) -> Generator[list[sqlite.Connection], None, None]:
    with TemporaryDirectory() as folder, ExitStack() as opened:
        found: list[sqlite.Connection] = []
        for number in range(count):
            connection = sqlite.connect(str(Path(folder) / f"limit-{number}.db"), isolation_level=None)
            found.append(opened.enter_context(closing(connection)))
            for statement in _SCHEMA:
                connection.execute(statement)
        yield found


def _fewest_rows_per_second() -> float:
    """Sagas a second that complete: four tables without any index beside their keys, `BATCH` messages a transaction."""
    run, ids = _rows_of_run(), _ids(SAGAS)
    with _databases(1) as (connection,):
        began = time.perf_counter()
        for at in range(0, SAGAS, BATCH):
            for revision, rows in enumerate(run):
                _commit(connection, ids[at : at + BATCH], revision, rows)
        return SAGAS / (time.perf_counter() - began)


def transactions_ms(others: int) -> float:
    """An order's transactions one after the other and nothing else, each synced; p50.

    Five are the orchestrator's own and, for four `others`, one each in files of theirs, of a few rows.
    """
    own_s = own_rows_s(written_for(ORDERS, ("delivered",), together=1, batch=1))
    run, took_s = _rows_of_run(), [sum(own_s[at : at + TRANSACTIONS]) for at in range(0, len(own_s), TRANSACTIONS)]
    with _databases(others) as theirs:
        for number, saga in enumerate(_ids(ORDERS)):
            began = time.perf_counter()
            for other in theirs:
                _commit(other, [saga], 0, run[0])
            took_s[number] += time.perf_counter() - began
    return median(took_s) * 1e3


def _commit(connection: sqlite.Connection, ids: list[bytes], revision: int, rows: _Rows) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if revision == 0:
        created = [(i, i.hex(), "create.pending", 1, rows.record) for i in ids]
        connection.executemany("INSERT INTO instances VALUES (?, ?, ?, ?, ?)", created)
    else:
        update = "UPDATE instances SET state = ?, revision = ?, record = ? WHERE id = ? AND revision = ?"
        connection.executemany(update, [("x.pending", revision + 1, rows.record, i, revision) for i in ids])
        # Of all but the first: what began a saga is known by the saga.
        connection.executemany("INSERT INTO inbox VALUES (?, ?)", [(i + bytes([revision]), NOW_MS) for i in ids])
    connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?)", [(i, revision, i, rows.message) for i in ids])
    # What the batch before sent has been published meanwhile.
    connection.execute("DELETE FROM outbox")
    if rows.sent:
        connection.executemany("INSERT INTO outbox (id, payload) VALUES (?, ?)", [(i, rows.sent) for i in ids])
    connection.execute("COMMIT")


# --------------------------------------------------------------------------- the messages


async def _messages_per_second(place: Place) -> float:
    """Messages sent in batches and polled again with nothing but the client."""
    stream = f"bare-{uuid4().hex[:8]}"
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream=stream)
    try:
        await broker.ensure([TopicSpec(name="bare")])
        subscription = await broker.subscribe("bare", ["bare"])
        payload = _written(OrderCreated(order_id="o-1", items=_ORDER.items, total=_ORDER.total))
        batches = [
            [Outgoing(id=str(uuid4()), topic="bare", key=str(n), payload=payload) for n in range(BATCH)]
            for _ in range(9)
        ]
        began, read, count = time.perf_counter(), 0, sum(map(len, batches))
        for batch in batches:
            await broker.publish(batch)
        while read < count:
            polled = await subscription.poll(BATCH)
            read += len(polled)
            last = {(m.topic, m.partition): m.offset for m in polled}
            await subscription.commit([Position(topic=t, partition=p, offset=o) for (t, p), o in last.items()])
        return count / (time.perf_counter() - began)
    finally:
        await broker.close()
