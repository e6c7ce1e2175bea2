"""The journal as a feed: which rows are still to be told of, in the order in which they were committed.

Theory of operation. The journal is kept by instance, and its times are those of clocks that may differ, so
neither tells what came last. Where it is fed to others, each row that is written is entered in `feed` as well,
by the same transaction, under the next number. SQLite has one writer at a time and a number is taken under
the write lock: so the order of the numbers is the order of the commits, and whoever has read up to a number
has missed nothing before it. (A database with several writers gives numbers before it commits: there a
reader has to stop at the oldest transaction that is still open.)

How far it was told stands in `totals` as `fed`. What lies before is taken away; the entry of that number
itself stays, so that SQLite, which gives the highest number plus one, never gives a number twice.

Feeding is switched on for a database once and for all: an entry costs 30 bytes and less than a microsecond, a
gap could never be closed. The first time, all rows that are there are entered, those of an instance in their order.
"""

from collections.abc import Sequence

from sagas.ports import FeedRow, JournalRow
from sagas.store.database import Database
from sagas.store.encoding import pack_id
from sagas.store.records import read_journal_row, read_version

_IS_ON = "SELECT value FROM totals WHERE name = 'feeding'"
_SWITCH_ON = "UPDATE totals SET value = 1 WHERE name = 'feeding'"
_ENTER_ALL = "INSERT INTO feed (instance_id, revision) SELECT instance_id, revision FROM journal ORDER BY 1, 2"
_ENTER = "INSERT INTO feed (instance_id, revision) VALUES (?, ?)"
_FIRST_MEMBER = "SELECT min(epoch) FROM members"
_UNFED = """
    SELECT feed.seq, instances.saga, instances.key, instances.record,
           journal.instance_id, journal.revision, at_ms, verdict, message_id, note, input, moves
    FROM feed
    CROSS JOIN journal ON journal.instance_id = feed.instance_id AND journal.revision = feed.revision
    CROSS JOIN instances ON instances.id = feed.instance_id
    WHERE feed.seq > (SELECT value FROM totals WHERE name = 'fed')
    ORDER BY feed.seq
    LIMIT ?
"""
_WAITING = "SELECT count(*) FROM feed WHERE seq > (SELECT value FROM totals WHERE name = 'fed')"
_WAITING_IDS = """
    SELECT instance_id FROM feed WHERE seq > (SELECT value FROM totals WHERE name = 'fed') LIMIT ?
"""
_ADVANCE = "UPDATE totals SET value = max(value, ?) WHERE name = 'fed'"
_FORGET = "DELETE FROM feed WHERE seq < ?"
_JOURNAL_COLUMNS = ("instance_id", "revision", "at_ms", "verdict", "message_id", "note", "input", "moves")


def begin(database: Database) -> None:
    """Enter every journal row from now on, and once those that are there already."""
    if not database.value(_IS_ON):
        with database.transaction():
            if not database.value(_IS_ON):
                database.change(_ENTER_ALL)
                database.change(_SWITCH_ON)


def enter(database: Database, rows: Sequence[JournalRow]) -> None:
    """Enter journal rows that are written in this transaction; for a database that is fed to others."""
    database.insert_many(_ENTER, [(pack_id(row.instance_id), row.revision) for row in rows])


def unfed(database: Database, count_max: int, epoch: int | None) -> list[FeedRow]:
    """The oldest rows not yet told of; () for an orchestrator that is not the first of those on this database.

    Two that tell of the same rows would do no harm, but twice the work.
    """
    first = database.value(_FIRST_MEMBER)
    if first is not None and first != epoch:
        return []
    return [
        FeedRow(
            seq=seq,
            saga=saga,
            version=read_version(record),
            key=key,
            entry=read_journal_row(dict(zip(_JOURNAL_COLUMNS, columns, strict=True))),
        )
        for seq, saga, key, record, *columns in database.rows(_UNFED, (count_max,))
    ]


def waiting(database: Database) -> int:
    """How many rows are still to be told of."""
    return int(database.value(_WAITING))


def waiting_ids(database: Database, count_max: int) -> set[bytes | str] | None:
    """The stored ids of the instances with rows that are still to be told of; None for more than `count_max` rows."""
    found = database.rows(_WAITING_IDS, (count_max + 1,))
    return None if len(found) > count_max else {stored_id for (stored_id,) in found}


def mark_fed(database: Database, seq: int) -> None:
    """Note that all rows up to `seq` were told of, in a transaction of its own."""
    with database.transaction():
        database.change(_ADVANCE, (seq,))
        database.change(_FORGET, (seq,))
