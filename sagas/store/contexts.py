"""A transaction and a part of one, as contexts. Classes: a generator costs 1 to 2 µs more, five times an order."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from sagas.store.opening import driver

_FULL = 13
_PRIMARY = 0xFF  # extended codes carry the primary one in their low byte


class Transacting(Protocol):
    """What a context needs of the database that it is of (`Database`)."""

    connection: Any
    handed_out: list[Any]

    def begin(self) -> None:
        """Begin a write transaction."""
        ...

    def commit(self) -> None:
        """End it and keep it."""
        ...

    def roll_back(self) -> None:
        """End it and keep nothing of it."""
        ...

    def close_rows(self) -> None:
        """Let nobody read on."""
        ...

    def change(self, sql: str) -> int:
        """Run one statement."""
        ...

    def require_transaction(self) -> None:
        """Raise TransactionEnded when none is open."""
        ...

    def explain(self, error: driver.DatabaseError) -> None:
        """Raise the StoreError that tells what the surroundings have done, if it was them."""
        ...


class Transaction:
    """`Database.transaction` as a context."""

    def __init__(self, database: Transacting, before_commit: Callable[[], None] | None) -> None:
        self._database = database
        self._before_commit = before_commit

    def __enter__(self) -> None:
        self._database.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        database = self._database
        if database.handed_out:
            database.close_rows()
        try:
            if kind is None:
                self._commit()
            else:
                database.roll_back()
        except driver.DatabaseError as failed:
            database.explain(failed)
            raise
        if isinstance(error, driver.DatabaseError):
            database.explain(error)

    def _commit(self) -> None:
        try:
            if self._before_commit is not None:
                self._before_commit()
            self._database.commit()
        except BaseException:
            self._database.roll_back()
            raise


class Savepoint:
    """`Database.savepoint` as a context: each command of a participant has one.

    Raises TransactionEnded where the block has ended the transaction, and StoreError where the surroundings have.
    """

    def __init__(self, database: Transacting, taken_back: Callable[[], None] | None) -> None:
        self._database = database
        self._taken_back = taken_back

    def __enter__(self) -> None:
        self._database.change("SAVEPOINT part")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        database = self._database
        if isinstance(error, driver.DatabaseError) and (not database.connection.in_transaction or _is_full(error)):
            # A full disk rolls the whole transaction back by itself, or only a statement of many rows.
            database.explain(error)
        database.require_transaction()
        if database.handed_out:
            database.close_rows()
        if kind is not None:
            self._take_back()
            return
        try:
            database.change("RELEASE part")
        except driver.OperationalError:
            # Else it would be told as having failed, and be kept with the rest.
            self._take_back()
            raise

    def _take_back(self) -> None:
        self._database.change("ROLLBACK TO part")
        # What keeps it open was not handed out by the kit: then it stays, empty, until the commit. What is raised is
        # what the block has raised.
        with suppress(driver.OperationalError):
            self._database.change("RELEASE part")
        if self._taken_back is not None:
            self._taken_back()


def _is_full(error: driver.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY == _FULL
