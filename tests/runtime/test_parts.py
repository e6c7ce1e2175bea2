"""A batch is taken in parts within its transaction: how large they are changes nothing."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from sagas.ports import Changes, Incoming, StoreTransaction
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.runtime.test_pulse import ACCEPTED, NOW_MS, REJECTED, a_start, an_answer

RUNS = 20

_WRITTEN = (
    "SELECT key, state, revision, record FROM instances ORDER BY key",
    "SELECT * FROM journal ORDER BY instance_id, revision",
    "SELECT * FROM timers ORDER BY instance_id, name",
    "SELECT * FROM inbox ORDER BY message_id",
    "SELECT id, payload, headers, topic, key FROM outbox ORDER BY id",
    "SELECT * FROM parked ORDER BY message_id",
    "SELECT topic, reason FROM dead_letters ORDER BY topic, reason",
)


def _messages(chance: random.Random) -> list[Incoming]:
    """Starts and one answer each, in any order, some of them twice; answers to nobody, and what cannot be read."""
    starts = [a_start(f"o-{n}") for n in range(RUNS)]
    answers = [an_answer(f"o-{n}", chance.choice((ACCEPTED, REJECTED))) for n in range(RUNS)]
    strangers = [an_answer(f"x-{n}", ACCEPTED) for n in range(3)]
    unreadable = Incoming(
        id=starts[0].id[:-1] + "0", topic="orders", partition=0, offset=0, timestamp_ms=0, payload=b"?"
    )
    messages = [*starts, *answers, *strangers, unreadable, *chance.sample(starts + answers, 9)]
    chance.shuffle(messages)
    return messages


def _outcome(path: Path, messages: list[Incoming], part_max: int) -> tuple[list[list[tuple[object, ...]]], int, int]:
    store = SqliteStore(path)
    orchestrator = Orchestrator([order_saga.definition], store, part_max=part_max)
    pulse = orchestrator.pulse().after(orchestrator.process(messages, NOW_MS))
    asked = orchestrator.pulse()
    assert pulse.in_flight == asked.in_flight
    assert pulse.next_due_ms is not None
    assert asked.next_due_ms is not None
    assert pulse.next_due_ms <= asked.next_due_ms
    handed_over = len(store.take_committed())
    store.close()
    tables = sqlite3.connect(path)
    written = [tables.execute(query).fetchall() for query in _WRITTEN]
    tables.close()
    return written, asked.in_flight, handed_over


@pytest.mark.parametrize("part_max", [1, 2, 7])
def test_how_large_the_parts_of_a_batch_are_changes_nothing(tmp_path: Path, part_max: int) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    messages = _messages(random.Random(seed))
    whole = _outcome(tmp_path / "whole.db", messages, len(messages))
    assert len(whole[0][0]) == RUNS
    assert _outcome(tmp_path / "parts.db", messages, part_max) == whole


def test_what_the_first_part_has_written_is_gone_when_a_later_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    store = SqliteStore(path)
    orchestrator = Orchestrator([order_saga.definition], store, part_max=2)
    assert store.take_committed() == []
    tables = sqlite3.connect(path, isolation_level=None)
    tables.execute(
        "CREATE TRIGGER full BEFORE INSERT ON journal WHEN (SELECT count(*) FROM journal) = 5 "
        "BEGIN SELECT raise(ABORT, 'full'); END"
    )
    messages = [a_start(f"o-{n}") for n in range(7)]
    with pytest.raises(Exception, match="full"):
        orchestrator.process(messages, NOW_MS)
    assert orchestrator.pulse().in_flight == 0
    assert store.take_committed() == []
    assert store.unpublished(9) == []

    tables.execute("DROP TRIGGER full")
    assert orchestrator.process(messages, NOW_MS).in_flight == 7
    assert [row.seq for row in store.take_committed()] == list(range(1, 8))
    tables.close()
    store.close()


class _Copied(SqliteStore):
    """A store whose files are copied whenever a part was written: what a process that is killed there leaves behind."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self.left: list[Path] = []

    @contextmanager
    def transaction(self) -> Generator[StoreTransaction, None, None]:
        with super().transaction() as inside:
            yield cast(StoreTransaction, _CopiedTransaction(inside, self.copy))

    def copy(self) -> None:
        folder = self._path.with_name(f"killed-{len(self.left)}")
        folder.mkdir()
        for name in (self._path.name, f"{self._path.name}-wal"):
            shutil.copy(self._path.with_name(name), folder / name)
        self.left.append(folder / self._path.name)


class _CopiedTransaction:
    def __init__(self, inside: StoreTransaction, copy: Callable[[], None]) -> None:
        self._inside = inside
        self._copy = copy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)

    def write(self, changes: Changes) -> None:
        self._inside.write(changes)
        self._copy()


def test_a_process_killed_between_two_parts_leaves_nothing_of_the_batch_which_then_comes_again(tmp_path: Path) -> None:
    messages = [a_start(f"o-{n}") for n in range(6)]
    store = _Copied(tmp_path / "sagas.db")
    assert Orchestrator([order_saga.definition], store, part_max=2).process(messages, NOW_MS).in_flight == 6
    store.close()
    assert len(store.left) == 3
    for path in store.left:
        left = SqliteStore(path)
        assert (left.in_flight(), left.unpublished(9)) == (0, [])
        assert Orchestrator([order_saga.definition], left, part_max=2).process(messages, NOW_MS).in_flight == 6
        assert len(left.unpublished(9)) == 6
        left.close()
