"""What the contract suites of a `Store` share: how one is made, and how something is written to it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagas.ports import Changes, Store

MANY = 1_203
"""More than one statement asks for at once, and no round number."""


class Refused(Exception):
    """Raised in a test to leave a transaction."""


def write(store: Store, changes: Changes) -> None:
    """One transaction with nothing but `changes`."""
    with store.transaction() as transaction:
        transaction.write(changes)


def write_and_refuse(store: Store, changes: Changes) -> None:
    """Write `changes` and raise before the transaction has ended."""
    with store.transaction() as transaction:
        transaction.write(changes)
        raise Refused


class StoreSuite(ABC):
    """Tests that are run against a store made by `make_store`."""

    @abstractmethod
    def make_store(self, directory: Path) -> Store:
        """A new, empty store; `directory` is there for its files."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.make_store(tmp_path)
        yield store
        store.close()
