"""One SQLite file: how it is opened, how a transaction runs, and what an error means to its owner.

Theory of operation. The file is in WAL mode with `synchronous=FULL`: once COMMIT returns, the
transaction outlives a power cut, and readers in other processes never wait for the writer. Python's
own transaction handling is off (`isolation_level=None`). Every write transaction begins with BEGIN
IMMEDIATE, which takes the write lock before anything is read: a plain BEGIN that reads first and
writes later fails at once when another connection wrote in between, whatever `busy_timeout` says.

What the surroundings can do to a file (lock, full disk, damage) becomes a StoreError with a remedy.
What only a bug can cause, a violated constraint for example, stays what the driver raised.
"""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import ref

import sqlite_utils

from sagas.errors import StoreError, TransactionEnded
from sagas.store.contexts import Savepoint, Transaction
from sagas.store.lists import INSERTED_SIZES, in_parts, over_list, over_rows
from sagas.store.opening import BUSY_TIMEOUT_MS, MEMORY, connect, driver, use_wal
from sagas.store.watched import WatchedFile

QUICK_CHECK_BYTES_MAX = 64 * 1024 * 1024
"""Files up to this size are looked through when they are opened: it takes 0.1 s at the most (measured)."""

DatabaseError = driver.DatabaseError
"""The root of what the driver raises for a statement that failed."""

SEVERAL_STATEMENTS = (driver.Warning, driver.ProgrammingError)
"""What the driver raises, among else, for a text with more than one statement in it: which, depends on its age."""

IntegrityError = driver.IntegrityError
"""What a violated UNIQUE or PRIMARY KEY raises."""

Row = tuple[Any, ...]

LOG_BYTES_MAX = 64 * 1024 * 1024
"""What stays of the write-ahead log after a reader has kept it from being emptied, and it grew."""

HANDED_OUT_MAX = 500
"""So many cursors are noted before those that nobody holds any more are left out."""

_SETTINGS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {LOG_BYTES_MAX}",
    "PRAGMA foreign_keys = ON",
    # A file can carry functions in its schema and cells that lie about their size: trust neither.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)

# SQLite's primary result codes that tell of the surroundings, not of a bug: what is wrong, and the remedy.
_SURROUNDINGS = {
    3: ("access was denied", "check the owner and permissions of the file and its directory"),
    5: ("another connection kept it locked", "end the process that holds it (a backup, a shell, a second engine)"),
    7: ("there is not enough memory", "free some and start again"),
    8: ("it cannot be written", "open it for writing, and check the permissions of the file and its directory"),
    10: ("reading or writing the disk failed", "check the disk, then start again: what was committed is kept"),
    11: ("the file is damaged", "restore a backup"),
    13: ("the disk is full", "make room: nothing of this transaction was kept"),
    14: ("it cannot be opened", "check that the directory exists and can be written"),
    26: ("the file is not an SQLite database", "name another file, or move this one away"),
}


class Database:
    """An open SQLite file. One thread at a time.

    `tables` is the same connection seen through sqlite-utils: for migrations and inspection.

    Its statements go through one cursor, and what they find is read at once: a new cursor costs 0.8 µs (measured).
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.name = str(path)
        self.connection = connect(self.name, read_only=read_only)
        try:
            with self.explaining():
                for setting in _SETTINGS:
                    self.connection.execute(setting)
                if not read_only:
                    use_wal(self.connection, self.name)
                    self._check_quickly()
                self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            # Reading has opened the log, which stays the same one until the last connection is closed.
            paths = () if self.name == MEMORY else (os.path.abspath(self.name), f"{os.path.abspath(self.name)}-wal")
            self._files = [WatchedFile(path) for path in paths]
            self.tables = sqlite_utils.Database(
                self.connection, recursive_triggers=False, execute_plugins=False, strict=True
            )
            self._cursor = self.connection.cursor()
            self.handed_out: list[ref[driver.Cursor]] = []
            """Cursors that somebody may still read from."""
            self._handed_out_max = HANDED_OUT_MAX
        except BaseException:
            self.connection.close()
            raise

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        try:
            return self._cursor.execute(sql, parameters).fetchall()
        except driver.DatabaseError as error:
            self.explain(error)
            raise

    def rows_later(self, sql: str, parameters: Sequence[object] = ()) -> driver.Cursor:
        """Run one statement whose rows are read later: until the part or the transaction ends that it stands in."""
        cursor = self.connection.execute(sql, parameters)
        self.handed_out.append(ref(cursor))
        if len(self.handed_out) >= self._handed_out_max:
            self.handed_out = [held for held in self.handed_out if held() is not None]
            self._handed_out_max = max(HANDED_OUT_MAX, 2 * len(self.handed_out))
        return cursor

    def close_rows(self) -> None:
        """Let nobody read on. What an UPDATE … RETURNING gave back and nobody has read would keep a part, and the
        transaction, from its end; a SELECT that was half read would keep the next one from its beginning.
        """
        handed_out, self.handed_out, self._handed_out_max = self.handed_out, [], HANDED_OUT_MAX
        for held in handed_out:
            cursor = held()
            if cursor is not None:
                cursor.close()

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first column of a query's first row."""
        return self.rows(sql, parameters)[0][0]

    def rows_in(self, sql: Callable[[str], str], values: Iterable[object], *before: object) -> list[Row]:
        """All rows of a query over a list of any length.

        `sql` is given the placeholders of the list and answers with the query; `before` are the
        parameters that stand before the list. A list longer than a statement takes is asked for in parts.
        """
        pending = list(values)
        if len(pending) == 1:  # a message alone asks so several times, and there is nothing to part or to fill
            return self.rows(over_list(sql, 1), (*before, *pending))
        found: list[Row] = []
        for part in in_parts(pending):
            found += self.rows(over_list(sql, len(part)), (*before, *part))
        return found

    def records(
        self, table: str, where: str = "", parameters: Sequence[object] = (), *, order_by: str, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a table by column names, through sqlite-utils: for what people ask, not for the hot path."""
        with self.explaining():
            rows = self.tables.table(table).rows_where(  # pyright: ignore[reportUnknownMemberType] - a bare Sequence
                where or None, parameters, order_by=order_by, limit=limit
            )
            return list(rows)

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement inside a transaction; how many rows it changed."""
        self.require_transaction()
        return self._cursor.execute(sql, parameters).rowcount

    def insert(self, sql: str, parameters: Sequence[object]) -> int:
        """Insert one row inside a transaction; the number (rowid) it was given."""
        self.require_transaction()
        return int(self._cursor.execute(sql, parameters).lastrowid or 0)

    def change_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each of `rows` inside a transaction; how many rows they changed together."""
        self.require_transaction()
        # Most tables get nothing in most batches, and finding that out in SQLite costs as much as a small write.
        some = list(rows)
        return max(0, self._cursor.executemany(sql, some).rowcount) if some else 0

    def insert_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Insert `rows` in their order, by the statement `… VALUES (?, …)` for one of them, inside a transaction."""
        self.require_transaction()
        some, done = list(rows), 0
        if len(some) >= INSERTED_SIZES[-1]:  # what one message writes is less, and is written five times an order
            for size in INSERTED_SIZES:
                while len(some) - done >= size:
                    self._cursor.execute(over_rows(sql, size), list(chain.from_iterable(some[done : done + size])))
                    done += size
        if done < len(some):
            self._cursor.executemany(sql, some[done:])

    def transaction(self, before_commit: Callable[[], None] | None = None) -> Transaction:
        """A write transaction: committed when the block ends, rolled back when it raises.

        `before_commit` is called when the block has ended, in the transaction still.
        """
        return Transaction(self, before_commit)

    def begin(self) -> None:
        """Begin a write transaction. Raises StoreError when one is open already."""
        if self.connection.in_transaction:
            raise StoreError(f"{self.name}: a transaction is open already; end it first, they do not nest")
        self.require_files()
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except driver.DatabaseError as error:
            self.explain(error)
            raise

    def commit(self) -> None:
        """End the transaction and keep it. Raises TransactionEnded when none is open any more."""
        self.require_transaction()
        self._cursor.execute("COMMIT")

    def roll_back(self) -> None:
        """End the transaction and keep nothing of it."""
        # A full disk or a failed COMMIT may have ended it already: a second ROLLBACK would then hide the reason.
        if self.connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def savepoint(self, taken_back: Callable[[], None] | None = None) -> Savepoint:
        """A part of a transaction that can fail alone: rolled back when the block raises. They nest.

        `taken_back` is called when that has happened.
        """
        return Savepoint(self, taken_back)

    def require_transaction(self) -> None:
        """Raise TransactionEnded when no transaction is open.

        Some errors, a full disk for one, make SQLite roll it back, and so do OR ROLLBACK and RAISE(ROLLBACK) in a
        service's own statements. Whoever caught such an error and went on writing would otherwise commit each
        statement by itself.
        """
        if not self.connection.in_transaction:
            raise TransactionEnded(
                f"{self.name}: no transaction is open, or a statement has ended it; begin it again, and write OR ABORT "
                "for OR ROLLBACK: the kit rolls back when you raise"
            )

    @contextmanager
    def explaining(self) -> Generator[None, None, None]:
        """Turn what the surroundings do to the file into a StoreError that names the remedy."""
        try:
            yield
        except driver.DatabaseError as error:
            self.explain(error)
            raise

    def close(self) -> None:
        """Close the file. Calling it twice does nothing."""
        self.connection.close()

    def explain(self, error: driver.DatabaseError) -> None:
        """Raise the StoreError that tells what the surroundings have done, if it was them."""
        # Extended codes carry the primary one in their low byte.
        known = _SURROUNDINGS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if known is not None:
            what, remedy = known
            raise StoreError(f"{self.name}: {what} ({error}); {remedy}") from error

    def require_files(self) -> None:
        """Raise StoreError when file or log was deleted or replaced under us: what we commit would be nobody's.

        Two looks at the file system cost 1.5 µs of a transaction (measured).
        """
        for file in self._files:
            file.require()

    def _check_quickly(self) -> None:
        """Raise StoreError for a damaged file that is small enough to be looked through at every start."""
        if self.name != MEMORY and os.path.getsize(self.name) <= QUICK_CHECK_BYTES_MAX:
            # SQLite's own words may come in several lines.
            found = " ".join(str(self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]).split())
            if found != "ok":
                raise StoreError(f"{self.name}: the file is damaged ({found}); restore a backup")
