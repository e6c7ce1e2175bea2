"""An orchestrator says which runs have sent commands and are not in its database."""

import logging
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from sagas.core.ids import instance_id
from sagas.ports import Incoming, OutboxRow
from sagas.runtime.lost_runs import tell_lost_runs
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.encoding import pack_id
from sagas.store.sqlite import SqliteStore
from services.contracts import INVENTORY, ORDERS
from services.orders.saga import order_saga
from services.stories import Story, message_of
from tests.core.past import NOW_MS

pytestmark = pytest.mark.anyio


class Topics:
    """What was sent, as it is read from the broker."""

    def __init__(self) -> None:
        self.messages: list[Incoming] = []

    async def newest(self, topic: str, count: int) -> AsyncGenerator[Sequence[Incoming], None]:
        """The last of one topic."""
        for message in [message for message in self.messages if message.topic == topic][-count:]:
            yield [message]

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Append what an orchestrator has sent."""
        self.messages += [incoming(row.id, row.topic, row.payload, dict(row.headers)) for row in rows]


def incoming(message_id: str, topic: str, payload: bytes, headers: dict[str, str]) -> Incoming:
    return Incoming(
        id=message_id,
        topic=topic,
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS,
        payload=payload,
        headers=headers,
    )


def begin(store: SqliteStore, topics: Topics, *keys: str) -> None:
    """Begin runs, and publish what they send."""
    stories = [Story(number=n, kind="delivered", order_id=key) for n, key in enumerate(keys)]
    messages = [message_of(story, message_id=str(uuid4()), now_ns=NOW_MS * 1_000_000) for story in stories]
    starts = [incoming(m.id, m.topic, m.payload, dict(m.headers)) for m in messages]
    Orchestrator([order_saga.definition], store).process(starts, NOW_MS)
    rows = store.unpublished(1_000)
    store.mark_published([row.seq for row in rows], NOW_MS)
    topics.publish(rows)


async def test_a_database_that_has_all_runs_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topics = Topics()
    with closing(SqliteStore(tmp_path / "orchestrator.db")) as store:
        assert await tell_lost_runs([ORDERS, INVENTORY], store.missing_runs, topics.newest) == 0
        begin(store, topics, "o-1", "o-2")
        assert await tell_lost_runs([ORDERS, INVENTORY], store.missing_runs, topics.newest) == 0
    assert caplog.messages == []


async def test_runs_that_began_behind_a_backup_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    topics = Topics()
    with closing(SqliteStore(tmp_path / "backup.db")) as backup:
        begin(backup, topics, "o-1")
        with closing(SqliteStore(tmp_path / "orchestrator.db")) as lost:
            begin(lost, topics, *(f"later-{number:02}" for number in range(12)))
        with caplog.at_level(logging.ERROR):
            assert await tell_lost_runs([ORDERS, INVENTORY], backup.missing_runs, topics.newest) == 12
    (said,) = caplog.messages
    assert said.startswith("12 of the 13 runs that sent the newest commands are not in this database: it came back")
    assert "order 'later-00', order 'later-01'" in said
    assert said.endswith(" and 2 more")
    assert "o-1" not in said


async def test_what_was_purged_and_what_is_no_command_is_not_missed(tmp_path: Path) -> None:
    topics = Topics()
    with closing(SqliteStore(tmp_path / "orchestrator.db")) as store:
        topics.messages += [
            incoming(str(uuid4()), ORDERS.commands, b"{}", {}),
            incoming(str(uuid4()), ORDERS.commands, b"{}", {"instance": "nobody"}),
        ]
        assert await tell_lost_runs([ORDERS], store.missing_runs, topics.newest) == 0
        run = instance_id("order", "o-1", NOW_MS)
        topics.messages.append(incoming(str(uuid4()), ORDERS.commands, b"{}", {"instance": run}))
        assert await tell_lost_runs([ORDERS], store.missing_runs, topics.newest) == 1
        with closing(sqlite3.connect(tmp_path / "orchestrator.db")) as connection, connection:
            connection.execute("INSERT INTO tombstones VALUES (?, 'order', 'o-1', ?)", (pack_id(run), NOW_MS))
        assert await tell_lost_runs([ORDERS], store.missing_runs, topics.newest) == 0
