"""The outbox, as the orchestrator's and every participant's database have it.

Theory of operation. A row is written in the transaction that decided it, and taken away once the broker has
acknowledged it: what is in the table is what is still to be published. Several rows may have the same id: a
command that is sent again, an answer that is given again. `seq` is never given twice (AUTOINCREMENT), or a
row could be taken away in place of one that had its number before.

Reading back what was written a moment ago, and a transaction more to take it away, would be half of the cost of a
message. So whoever publishes is handed the rows of this object's own commits (`take_committed`) and says what was
acknowledged (`note_published`); the next transaction of this object, or the next look into the table, takes these
away as well. A crash before that leaves them in the table, and they are published again under the same ids.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import msgspec

from sagas.errors import StoreError
from sagas.ports import OutboxRow
from sagas.store.database import Database
from sagas.store.encoding import blob, pack, pack_id, unpack_headers, unpack_id

_INSERT = """
    INSERT INTO outbox (seq, id, event_type, payload, created_at, published_at,
                        aggregate_type, aggregate_id, topic, key, headers)
    VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?)
"""

UNPUBLISHED = """
    SELECT seq, id, event_type, payload, created_at, aggregate_type, aggregate_id, topic, key, headers
    FROM outbox
    WHERE seq > ?
    ORDER BY seq
    LIMIT ?
"""
"""The publisher's query: from which number on, and how many."""

_REMOVE = "DELETE FROM outbox WHERE seq BETWEEN ? AND ?"


_log = logging.getLogger("sagas.store")


class OutboxTable:
    """The outbox of one database object, and what of it is in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._added: list[OutboxRow] = []
        self._written: list[OutboxRow] = []
        self._committed: deque[OutboxRow] | None = None
        self._published: list[int] = []
        self._removed = 0
        self._damaged: set[int] = set()

    # ------------------------------------------------------------------ inside a transaction

    def add(self, rows: Iterable[OutboxRow]) -> None:
        """Write rows in their order: in one statement, at the next `write`."""
        self._database.require_transaction()
        self._added.extend(rows)

    @property
    def size(self) -> int:
        """How many rows were added and are not written yet."""
        return len(self._added)

    def forget_after(self, size: int) -> None:
        """Forget what was added after there were `size` unwritten rows: a part of the transaction was rolled back."""
        del self._added[size:]

    def write(self) -> None:
        """Write what was added, and take away what was published meanwhile: before the commit, or earlier as well."""
        if self._added:
            # The first is given its number by the table; nobody else writes before the rest has the next ones.
            first = self._database.insert(_INSERT, _parameters(None, self._added[0]))
            self._database.insert_many(_INSERT, map(_parameters, count(first + 1), self._added[1:]))
            if self._committed is not None:
                numbered = enumerate(self._added, start=first)
                self._written += (msgspec.structs.replace(row, seq=seq) for seq, row in numbered)
            self._added = []
        published = self._published[self._removed :]
        if published:
            self._database.change_many(_REMOVE, _runs(published))
            self._removed += len(published)

    def has_committed(self) -> None:
        """The transaction is committed."""
        if self._committed is not None:
            self._committed.extend(self._written)
        self._written = []
        del self._published[: self._removed]
        self._removed = 0

    def has_rolled_back(self) -> None:
        """The transaction is rolled back: nothing was added, nothing taken away."""
        self._added = []
        self._written = []
        self._removed = 0

    # ------------------------------------------------------------------ the publisher's side

    def unpublished(self, count_max: int) -> list[OutboxRow]:
        """The oldest rows not yet published, in `seq` order."""
        if self._published:
            self.mark_published(())
        found: list[OutboxRow] = []
        after, wanted = 0, count_max
        while wanted:
            rows = self._database.rows(UNPUBLISHED, (after, wanted))
            for row in rows:
                try:
                    found.append(_read(*row))
                except StoreError as error:
                    self._pass_over(row[0], error)
            if len(rows) < wanted:
                break
            after, wanted = rows[-1][0], count_max - len(found)
        return found

    def _pass_over(self, seq: int, damage: StoreError) -> None:
        """Leave a damaged row where it is, and say so once: the others go on."""
        if seq not in self._damaged:
            self._damaged.add(seq)
            _log.error(
                "%s: row %d of the outbox is not published: %s, or remove the row: who waits for it asks again",
                self._database.name, seq, damage,
            )  # fmt: skip

    def mark_published(self, seqs: Sequence[int]) -> None:
        """Take these rows away, and those that were noted, in a transaction of its own."""
        noted = len(self._published)
        runs = list(_runs([*self._published[:noted], *seqs]))
        if runs:
            with self._database.transaction():
                self._database.change_many(_REMOVE, runs)
            del self._published[:noted]

    def take_committed(self) -> list[OutboxRow]:
        """What this object has committed since it was asked last; from the first call on it is kept for that."""
        if self._committed is None:
            self._committed = deque()
        taken: list[OutboxRow] = []
        # Another thread may be adding at the other end.
        for _ in range(len(self._committed)):
            taken.append(self._committed.popleft())
        return taken

    def note_published(self, seqs: Sequence[int]) -> None:
        """Have the next transaction take these rows away. Touches no file."""
        self._published.extend(seqs)


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Numbers as ranges: a batch is mostly one range, and one statement then does for all of it."""
    first = last = None
    for seq in sorted(seqs):
        if first is None or last is None:
            first = last = seq
        elif seq <= last + 1:
            last = seq
        else:
            yield first, last
            first = last = seq
    if first is not None and last is not None:
        yield first, last


def _parameters(seq: int | None, row: OutboxRow) -> tuple[object, ...]:
    return (
        seq,
        pack_id(row.id),
        row.event_type,
        blob(row.payload),
        row.created_at,
        row.aggregate_type,
        pack_id(row.aggregate_id),
        row.topic,
        row.key,
        pack(row.headers),
    )


def _read(
    seq: int,
    stored_id: bytes | str,
    event_type: str,
    payload: bytes,
    created_at: int,
    aggregate_type: str,
    aggregate_id: bytes | str,
    topic: str,
    key: str,
    headers: bytes,
) -> OutboxRow:
    return OutboxRow(
        seq=seq,
        id=unpack_id(stored_id),
        event_type=event_type,
        payload=payload,
        created_at=created_at,
        aggregate_type=aggregate_type,
        aggregate_id=unpack_id(aggregate_id),
        topic=topic,
        key=key,
        headers=unpack_headers(headers),
    )
