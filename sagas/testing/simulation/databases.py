"""Databases in memory that outlive the processes that use them, copied from one that was made once.

Making five schemas takes longer than many a run, so each kind is made once in a Python process. A database is one
connection, and stays open when a process of the simulated world closes its store. Every life of a process opens
a store of its own on it, as in production: it may keep things in memory that must not outlive it.
"""

from collections.abc import Sequence

from sagas.ports import Migration
from sagas.store.database import Database
from sagas.store.opening import MEMORY
from sagas.store.participant import SqliteParticipantStore
from sagas.store.processes import Processes
from sagas.store.sqlite import SqliteStore


class KeptDatabase(Database):
    """A database in memory whose users may close it."""

    def close(self) -> None:
        """Nothing: it is closed by `discard`."""

    def discard(self) -> None:
        """Give it up."""
        super().close()

    def copy(self) -> "KeptDatabase":
        """Another one with the same in it."""
        made = KeptDatabase(MEMORY)
        self.connection.backup(made.connection)
        return made


_orchestrators: list[KeptDatabase] = []
_participants: dict[tuple[Migration, ...], KeptDatabase] = {}


def new_database() -> KeptDatabase:
    """An orchestrator's, empty."""
    if not _orchestrators:
        made = KeptDatabase(MEMORY)
        open_store(made, 1)
        _orchestrators.append(made)
    return _orchestrators[0].copy()


def new_participant_database(migrations: Sequence[Migration]) -> KeptDatabase:
    """A participant's, as its migrations leave it."""
    known = tuple(migrations)
    if known not in _participants:
        _participants[known] = KeptDatabase(MEMORY)
        open_participant_store(_participants[known], known)
    return _participants[known].copy()


def open_store(database: KeptDatabase, lease_ms: int, processes: Processes | None = None) -> SqliteStore:
    """A store on the database, with nothing in memory of the ones before."""
    return SqliteStore(database, lease_ms=lease_ms, processes=processes)


def open_participant_store(database: KeptDatabase, migrations: Sequence[Migration]) -> SqliteParticipantStore:
    """A participant's store on the database."""
    return SqliteParticipantStore(database, migrations)
