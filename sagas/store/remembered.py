"""What a participant's database remembers of its answers, for whoever compares that with what was published.

Theory of operation. The barrier keeps the answer to each operation. Two times say what may be missing nevertheless: up
to when it was cleaned (`barrier_forgotten`), and up to when a person has said that the file came back from a backup and
that it is known what this means (`restored`, one row each time it happened; they are never removed).
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from sagas.errors import SchemaMismatch
from sagas.records import OperationKey
from sagas.store.barrier import BarrierTable
from sagas.store.database import Database
from sagas.store.migrations import applied_migrations
from sagas.store.schema import PARTICIPANT

_RESTORED = "SELECT ifnull(max(before_ms), 0) FROM restored"
_NOTE = "INSERT INTO restored (at_ms, before_ms, how, who, reason) VALUES (?, ?, ?, ?, ?)"


class Remembered:
    """The answers in a participant's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def forgotten_ms(self) -> int:
        """What was last touched before this time may have been cleaned away; 0: nothing was ever."""
        return BarrierTable(self._database).forgotten_ms

    @property
    def restored_ms(self) -> int:
        """Answers given before this time may be missing, and somebody knows it; 0: nobody has ever said so."""
        return int(self._database.value(_RESTORED))

    def answers(self, operations: Collection[OperationKey]) -> Mapping[OperationKey, str]:
        """The tag of the answer to each of these, "" where there is none yet; those that are unknown are missing."""
        barrier = BarrierTable(self._database)
        barrier.prefetch(operations)
        return {key: row.answer for key in operations if (row := barrier.recall(key)) is not None}

    def note_restored(self, before_ms: int, how: str, who: str, reason: str, now_ms: int) -> None:
        """Keep that a person knows what is missing of the time before `before_ms`, in a transaction of its own."""
        with self._database.transaction():
            self._database.change(_NOTE, (now_ms, before_ms, how, who, reason))


class RememberedFile(Remembered):
    """The same of the file `path`, which may be in use.

    Nothing is created. Raises StoreError when the file cannot be used, and SchemaMismatch when it is no participant's
    database, or not of this release.
    """

    def __init__(self, path: str | Path, *, read_only: bool) -> None:
        if not read_only:
            RememberedFile(path, read_only=True).close()  # opened for writing, a file that is not there would be made
        self._file = Database(path, read_only=read_only)
        try:
            _require_participants(self._file)
        except BaseException:
            self._file.close()
            raise
        super().__init__(self._file)

    def close(self) -> None:
        """Give up the connection. Calling it twice does nothing."""
        self._file.close()


def _require_participants(database: Database) -> None:
    applied = applied_migrations(database)
    if PARTICIPANT[0][0] not in applied:
        raise SchemaMismatch(f"{database.name}: is no participant's database; name one with --db")
    missing = [name for name, _ in PARTICIPANT if name not in applied]
    if missing:
        raise SchemaMismatch(
            f"{database.name}: lacks the migration {missing[0]!r}; start its process once with this release"
        )
