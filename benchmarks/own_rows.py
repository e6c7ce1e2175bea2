"""What the orchestrator writes for a load, taken down while it is written, and written again by nothing else.

Theory of operation. An orchestrator decides a load of orders over a database that notes each statement and its rows,
transaction by transaction; its commands are answered at once and there is no broker. These statements are then run
on a new file with the same tables and settings: `executemany`, BEGIN and COMMIT, and nothing of the engine. So the
limit has the same rows, in the same transactions, and what the engine reads, decides and encodes is left out.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from benchmarks.answers import answer_to
from benchmarks.system import PLENTIFUL
from sagas.clock import SystemClock
from sagas.ports import Incoming, Outgoing
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.database import Database
from sagas.store.migrations import migrate
from sagas.store.schema import ORCHESTRATOR
from sagas.store.sqlite import SqliteStore
from services.contracts import ORDERS
from services.orders.saga import order_saga
from services.stories import Kind, Story, message_of

SAGAS = 5_000
BATCH = 1_000
"""Messages in one transaction, as many as a worker takes at once."""

_CLOCK = SystemClock()

Statement = tuple[str, list[tuple[Any, ...]]]
"""SQL, and the rows it is run for."""


class NotingDatabase(Database):
    """A database that notes what is written to it: `written` has the statements of each transaction."""

    def __init__(self, path: Path) -> None:
        self.written: list[list[Statement]] = []
        super().__init__(path)

    def begin(self) -> None:
        """Begin a write transaction."""
        super().begin()
        self.written.append([])

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement."""
        self.written[-1].append((sql, [tuple(parameters)]))
        return super().change(sql, parameters)

    def insert(self, sql: str, parameters: Sequence[object]) -> int:
        """Insert one row."""
        self.written[-1].append((sql, [tuple(parameters)]))
        return super().insert(sql, parameters)

    def change_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each of `rows`."""
        some = [tuple(row) for row in rows]
        if some:
            self.written[-1].append((sql, some))
        return super().change_many(sql, some)

    def insert_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Insert `rows`."""
        some = [tuple(row) for row in rows]
        if some:
            self.written[-1].append((sql, some))
        super().insert_many(sql, some)


@lru_cache
def written_for(orders: int, kinds: tuple[Kind, ...], *, together: int, batch: int) -> list[list[Statement]]:
    """The transactions for `orders` of these kinds in turn, `together` of them at a time, `batch` messages in each."""
    with TemporaryDirectory() as folder, closing(NotingDatabase(Path(folder) / "noted.db")) as database:
        store = SqliteStore(database)
        store.enter(_CLOCK.now_ms())
        store.take_committed()  # from here on it hands over what it commits
        orchestrator = Orchestrator([order_saga.definition], store)
        database.written.clear()
        for first in range(0, orders, together):
            stories = [_story(number, kinds) for number in range(first, min(first + together, orders))]
            _decide(orchestrator, store, stories, batch)
        left = store.in_flight()
        assert not left, f"{left} of {orders} orders have not ended"
        return database.written


def write_again(transactions: Iterable[Sequence[Statement]], path: Path) -> list[float]:
    """Run them on a new file with the orchestrator's tables; how many seconds each took, its COMMIT with it."""
    took: list[float] = []
    with closing(Database(path)) as database:
        migrate(database, ORCHESTRATOR)
        cursor = database.connection.cursor()
        for statements in transactions:
            began = time.perf_counter()
            cursor.execute("BEGIN IMMEDIATE")
            for sql, rows in statements:
                cursor.executemany(sql, rows)
            cursor.execute("COMMIT")
            took.append(time.perf_counter() - began)
    return took


def own_rows_s(transactions: Iterable[Sequence[Statement]]) -> list[float]:
    """Seconds that each transaction takes with nothing of the engine, on a file that goes away."""
    with TemporaryDirectory() as folder:
        return write_again(transactions, Path(folder) / "again.db")


def own_rows_per_second(kinds: Sequence[Kind]) -> float:
    """Sagas a second: what an orchestrator has written for orders of these kinds, in the transactions of a burst."""
    return SAGAS / sum(own_rows_s(written_for(SAGAS, tuple(kinds), together=SAGAS, batch=BATCH)))


def _decide(orchestrator: Orchestrator, store: SqliteStore, stories: Sequence[Story], batch: int) -> None:
    declined = {story.order_id for story in stories if story.kind == "card declined"}
    waiting = deque(
        _read(message_of(story, message_id=str(uuid4()), now_ns=time.time_ns(), products=PLENTIFUL))
        for story in stories
    )
    while waiting:
        messages = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
        orchestrator.process(messages, _CLOCK.now_ms())
        commands = store.take_committed()
        store.note_published([row.seq for row in commands])
        waiting.extend(
            _read(answer_to(row.headers, row.id, row.key, _CLOCK.now_ms(), is_declined=row.key in declined))
            for row in commands
        )


def _story(number: int, kinds: Sequence[Kind]) -> Story:
    return Story(number=number, kind=kinds[number % len(kinds)], order_id=f"{ORDERS.name}-{number}")


def _read(message: Outgoing) -> Incoming:
    return Incoming(
        id=message.id,
        topic=message.topic,
        partition=0,
        offset=0,
        timestamp_ms=_CLOCK.now_ms(),
        payload=message.payload,
        headers=message.headers,
    )
