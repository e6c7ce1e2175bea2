"""What tests of stores share. The assertions of the contract suites explain themselves as those of a test file do."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sagas.store.database import Database
from sagas.store.sqlite import SqliteStore

pytest.register_assert_rewrite(
    "tests.store.contract", "tests.store.messages_contract", "tests.store.participant_contract"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The file that `pair` is on, open."""
    database = Database(tmp_path / "sagas.db")
    yield database
    database.close()


@pytest.fixture
def pair(tmp_path: Path, database: Database) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores on one file, as two orchestrators have them; the first is over `database`."""
    with ExitStack() as stack:
        stores = SqliteStore(database), SqliteStore(tmp_path / "sagas.db")
        for store in stores:
            stack.callback(store.close)
        yield stores
