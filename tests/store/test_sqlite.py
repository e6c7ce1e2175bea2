"""The contract suites on SQLite, in a file and in memory."""

from collections.abc import Sequence
from pathlib import Path

from sagas.ports import Migration, ParticipantStore, Store
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from tests.store.contract import StoreContract
from tests.store.participant_contract import ParticipantStoreContract


class TestSqliteFile(StoreContract):
    def make_store(self, directory: Path) -> Store:
        return SqliteStore(directory / "sagas.db")


class TestSqliteInMemory(StoreContract):
    def make_store(self, directory: Path) -> Store:
        return SqliteStore(":memory:")


class TestSqliteParticipantFile(ParticipantStoreContract):
    def make_store(self, directory: Path, migrations: Sequence[Migration]) -> ParticipantStore:
        return SqliteParticipantStore(directory / "inventory.db", migrations)


class TestSqliteParticipantInMemory(ParticipantStoreContract):
    def make_store(self, directory: Path, migrations: Sequence[Migration]) -> ParticipantStore:
        return SqliteParticipantStore(":memory:", migrations)
