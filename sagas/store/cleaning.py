"""What is not kept for ever, taken away in small steps: old inbox rows, the journals of ended runs, ended runs.

Theory of operation. Each function takes one step: one short write transaction of at most so many rows, so that a
batch that waits for the write lock waits for milliseconds. What is to go is found without an index of its own, which
every run would pay for: ids of instances begin with the millisecond in which the run began (`core/ids.py`), and who
began after a time has not ended before it. So a *walk* goes through a table in the order of its keys, up to the first
key that is too young, a part at each step, and then begins anew. A walk is a place in memory; a crash only
lets it begin anew.

Only runs that have ended go, by the state that is stored when the step's transaction has the write lock. Live and
stuck ones are never touched. No row is taken of which others are still to be told (`feed.py`): the step leaves runs
out of which a row is unfed, and while very many are, it leaves all.

`instances.cleaned` says up to which revision the journal of an instance was cleaned away, so that a gap that
cleaning made is told from a loss. A run that is purged leaves a *tombstone* with its key and its id: an event that
would start it again, and an answer to it, meet that and not nothing. The message that began it is then noted in the
inbox, where the run itself stood for it before.
"""

from collections.abc import Collection, Sequence

from sagas.core.ids import first_id_at
from sagas.core.instance import COMPENSATED, COMPLETED, ENDS, REJECTED, Instance
from sagas.errors import DamagedInstance
from sagas.store import feed
from sagas.store.database import Database, Row
from sagas.store.encoding import StoredId, pack_id
from sagas.store.members import Members
from sagas.store.records import read_instance

UNFED_MAX = 20_000
"""Unfed rows that are looked through to see whose they are, in some milliseconds; while there are more nothing goes."""

PURGED_STATES = (COMPLETED, COMPENSATED, REJECTED)
"""An abandoned run stays: something of it may still stand outside."""

_FIRST: StoredId | int = -1
"""Sorts before every text and every blob."""

_FORGET_SEEN = """
    DELETE FROM inbox WHERE message_id IN (
        SELECT message_id FROM inbox WHERE seen_at < ? ORDER BY seen_at LIMIT ?
    )
"""
_WITH_JOURNAL = """
    SELECT DISTINCT instance_id FROM journal WHERE instance_id > ? AND instance_id < ? ORDER BY instance_id LIMIT ?
"""
_NOTE_CLEANED = "UPDATE instances SET cleaned = revision WHERE id = ?"
_CLEAN = "DELETE FROM journal WHERE instance_id = ?"
_OLD_RUNS = "SELECT id FROM instances WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
_BURY = "INSERT OR REPLACE INTO tombstones (instance_id, saga, key, purged_ms) VALUES (?, ?, ?, ?)"
_SEE = "INSERT INTO inbox (message_id, seen_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
_PURGE = "DELETE FROM instances WHERE id = ?"
_FORGET_TOMBSTONES = """
    DELETE FROM tombstones WHERE instance_id IN (
        SELECT instance_id FROM tombstones WHERE purged_ms < ? ORDER BY purged_ms LIMIT ?
    )
"""


class Cleaner:
    """Takes the steps on an orchestrator's database."""

    def __init__(self, database: Database, members: Members) -> None:
        self._database = database
        self._members = members
        self._journal_at = _FIRST
        self._runs_at = _FIRST

    def forget_seen(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` messages seen before `before_ms` from the inbox, oldest first; how many."""
        with self._database.transaction():
            self._members.require()
            return self._database.change(_FORGET_SEEN, (before_ms, max(0, count_max)))

    def clean_journals(self, before_ms: int, count_max: int) -> bool:
        """Look at the next `count_max` runs at most and clean the journals of those that ended before `before_ms`.

        Whether there are more to look at.
        """
        found, self._journal_at = self._next_part(_WITH_JOURNAL, self._journal_at, before_ms, count_max)
        if found and self._ended(found, ENDS, before_ms):
            with self._database.transaction():
                self._members.require()
                # Again, under the write lock: a late answer may have woken one of them meanwhile.
                gone = [(row[0],) for row in self._ended(found, ENDS, before_ms)]
                self._database.change_many(_NOTE_CLEANED, gone)
                self._database.change_many(_CLEAN, gone)
        return self._journal_at != _FIRST

    def purge_runs(self, before_ms: int, now_ms: int, count_max: int) -> bool:
        """Look at the next `count_max` runs at most and purge those that ended before `before_ms`.

        Their journals go with them. Whether there are more to look at.
        """
        found, self._runs_at = self._next_part(_OLD_RUNS, self._runs_at, before_ms, count_max)
        if found and self._ended(found, PURGED_STATES, before_ms):
            with self._database.transaction():
                self._members.require()
                ended = [(row[0], _read(row)) for row in self._ended(found, PURGED_STATES, before_ms)]
                gone = [(stored_id, run) for stored_id, run in ended if run is not None and not run.incident]
                self._database.change_many(_BURY, [(stored_id, run.saga, run.key, now_ms) for stored_id, run in gone])
                # What began a run was known by the run (`Batch.take`): from now on the inbox has to know it.
                begun_by = [(pack_id(run.begun_by), now_ms) for _, run in gone if run.begun_by]
                self._database.change_many(_SEE, begun_by)
                self._database.change_many(_CLEAN, [(stored_id,) for stored_id, _ in gone])
                self._database.change_many(_PURGE, [(stored_id,) for stored_id, _ in gone])
        return self._runs_at != _FIRST

    def forget_tombstones(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` tombstones of runs purged before `before_ms`; how many."""
        with self._database.transaction():
            self._members.require()
            return self._database.change(_FORGET_TOMBSTONES, (before_ms, max(0, count_max)))

    def _next_part(
        self, query: str, at: StoredId | int, before_ms: int, count_max: int
    ) -> tuple[list[StoredId], StoredId | int]:
        """The ids of the walk's next part, and where it is then: at the beginning when this was the last one."""
        found: list[StoredId] = [
            row[0] for row in self._database.rows(query, (at, pack_id(first_id_at(before_ms)), max(1, count_max)))
        ]
        return found, found[-1] if len(found) >= max(1, count_max) else _FIRST

    def _ended(self, ids: Sequence[StoredId], states: Collection[str], before_ms: int) -> list[Row]:
        """Those of these runs that may go: id, saga, key, revision, state, record."""
        waiting = feed.waiting_ids(self._database, UNFED_MAX)
        if waiting is None:
            return []
        found = self._database.rows_in(_ended_in, ids, before_ms, *_padded(states))
        return [row for row in found if row[0] not in waiting]


def _read(row: Row) -> Instance | None:
    """The run in a row of `_ended`, None for one that is damaged: a person has to see it."""
    stored_id, _, _, revision, state, record = row
    try:
        return read_instance(stored_id, revision, state, record)
    except DamagedInstance:
        return None


def _padded(states: Collection[str]) -> tuple[str, ...]:
    return (*states, *[next(iter(states))] * (len(ENDS) - len(states)))


def _ended_in(marks: str) -> str:
    return f"""
        SELECT id, saga, key, revision, state, record FROM instances
        WHERE is_live = 0 AND updated_ms < ? AND state IN ({",".join("?" * len(ENDS))}) AND id IN ({marks})
    """  # noqa: S608 - question marks only
