"""Up to when each partition of the reply topics was read, by whichever orchestrator had it then.

Theory of operation. A timer may fire only when every answer that came before its due time was dealt with, or a step
would be timed out whose answer is waiting. Whoever has read a partition to its end, and committed what was decided,
writes here from when on there may be something unread in it. That stays true whoever owns the partition later, so
nothing has to be known of who owned what when: a partition that has changed hands, or whose owner stands still or has
died, simply stays where it is until somebody has read it again, and holds the timers back. What has no row was never
read by anybody. An orchestrator needs no row for what it has just read itself.

The partitions that count are those of the topics that the asking orchestrator reads: a topic that an older release
has read is not waited for.
"""

from collections.abc import Iterable

from sagas.ports import CaughtUp
from sagas.records import Partition
from sagas.store.database import Database

AHEAD_MS_MAX = 60_000
"""So far another's word may be ahead of ours: its poll began after ours, which was long in being dealt with."""

TABLE = """
    CREATE TABLE reading (
        topic TEXT NOT NULL,
        "partition" INTEGER NOT NULL,
        read_ms INTEGER NOT NULL,
        PRIMARY KEY (topic, "partition")
    ) STRICT, WITHOUT ROWID
"""

# The last word counts, also when it is a smaller number: then a clock was set back.
_NOTE = """
    INSERT INTO reading (topic, "partition", read_ms) VALUES (?, ?, ?)
    ON CONFLICT (topic, "partition") DO UPDATE SET read_ms = excluded.read_ms
"""
_ALL = 'SELECT topic, "partition", read_ms FROM reading'


def note(database: Database, caught_up: CaughtUp) -> None:
    """Write down what this orchestrator has read; inside a transaction."""
    rows = [(topic, partition, caught_up.ms) for topic, partition in sorted(caught_up.reading.read)]
    database.change_many(_NOTE, rows)


def read_by_all_ms(database: Database, caught_up: CaughtUp) -> int:
    """Up to when everything was read, by this orchestrator and the others; 0 when something never was."""
    elsewhere = caught_up.reading.partitions - caught_up.reading.read
    if not elsewhere:
        return caught_up.ms
    ahead_ms = caught_up.ms + AHEAD_MS_MAX
    return min(caught_up.ms, *(ms if ms <= ahead_ms else 0 for ms in _read_ms(database, elsewhere)))


def _read_ms(database: Database, partitions: Iterable[Partition]) -> list[int]:
    known: dict[Partition, int] = {(topic, number): read_ms for topic, number, read_ms in database.rows(_ALL)}
    return [known.get(partition, 0) for partition in partitions]
