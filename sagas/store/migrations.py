"""Numbered changes of a schema: applied once, in order, each in a transaction of its own.

Theory of operation. The table `schema_migrations` lists by name what was applied. A change and its
name are committed together, so that a crash leaves either both or neither, and two processes that
open a new file at once find each other's work: the list is read again under the write lock. A name
in the list that is not among the given ones means that the file is ahead of this program, and going
on would write rows the newer one does not understand; so the file is refused before anything is written.
"""

import re
from collections.abc import Callable, Sequence

from sagas.errors import SchemaMismatch, StatementRefused, StoreError
from sagas.ports import Migration, Rows, Sql
from sagas.store.database import SEVERAL_STATEMENTS, Database, DatabaseError

_TABLE = "schema_migrations"

_TRANSACTION_WORDS = frozenset(("begin", "commit", "end", "rollback", "savepoint", "release", "attach", "vacuum"))

_BEFORE = re.compile(r"(?:\s|;|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*", re.DOTALL)
"""What SQLite passes over before the first word of a statement."""

_PLAIN_WRITE = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE)\s", re.IGNORECASE)

_STATEMENTS_REMEMBERED = 512
"""Whoever writes values into the text of statements has more than that, and is not to fill the memory with them."""


class TransactionSql:
    """A participant's own statements, inside a transaction it cannot end.

    A handler that committed would tear its rows from the barrier and the outbox.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing = database.connection.cursor()
        # A handler runs the same few statements for ever: each is looked at once.
        self._finds_nothing: dict[str, bool] = {}

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """Run one statement. Raises StatementRefused for one that would begin or end a transaction."""
        finds_nothing = self._finds_nothing.get(sql)
        if finds_nothing is None:
            self._refuse_transaction_words(sql)
            finds_nothing = _is_plain_write(sql)
            if len(self._finds_nothing) < _STATEMENTS_REMEMBERED:
                self._finds_nothing[sql] = finds_nothing
        self._database.require_transaction()
        try:
            # What finds rows has a cursor of its own, for they are read later; that costs 0.9 µs (measured).
            return (self._writing.execute if finds_nothing else self._database.rows_later)(sql, parameters)
        except SEVERAL_STATEMENTS as error:
            if "one statement at a time" not in str(error):
                raise
            raise StatementRefused(
                f"{self._database.name}: several statements at once; call `execute` once for each"
            ) from error

    def _refuse_transaction_words(self, sql: str) -> None:
        word = _first_word(sql)
        if word in _TRANSACTION_WORDS:
            raise StatementRefused(
                f"{self._database.name}: {word.upper()} inside a transaction of the kit; "
                "leave it out: the kit commits, or rolls back when you raise"
            )


def _first_word(sql: str) -> str:
    before = _BEFORE.match(sql)
    assert before is not None, "it matches nothing, too"
    found = re.match(r"[A-Za-z]+", sql[before.end() :])
    return found.group().lower() if found is not None else ""


def _is_plain_write(sql: str) -> bool:
    """Whether a statement changes rows and gives none back. Of what is hard to tell: no."""
    return _PLAIN_WRITE.match(sql) is not None and "returning" not in sql.lower()


def migrate(database: Database, migrations: Sequence[Migration]) -> None:
    """Apply those of `migrations` that `database` does not have yet.

    Raises SchemaMismatch when it has one that is not among them, and StoreError when one fails.
    """
    applied = applied_migrations(database)
    _refuse_unknown(database, applied, migrations)
    for name, change in migrations:
        if name in applied:
            continue
        with database.transaction():
            # Another process may have been here between the look and the lock.
            if name in applied_migrations(database):
                continue
            _apply(database, name, change)


def require_migrated(database: Database, migrations: Sequence[Migration]) -> None:
    """Raise SchemaMismatch unless `database` has exactly these `migrations`. Writes nothing."""
    applied = applied_migrations(database)
    _refuse_unknown(database, applied, migrations)
    missing = [name for name, _ in migrations if name not in applied]
    if missing:
        raise SchemaMismatch(
            f"{database.name}: lacks the migration {missing[0]!r}: it was made by an older release or by something "
            "else; start the orchestrator on it once (sagas run), or name another file"
        )


def _apply(database: Database, name: str, change: Callable[[Sql], None]) -> None:
    if not callable(change):
        raise StoreError(
            f"{database.name}: the migration {name!r} is {str(change)[:60]!r}, expected a function; "
            "write `def tables(sql: Sql) -> None:`, which calls `sql.execute` for each statement"
        )
    try:
        change(TransactionSql(database))
        database.tables.table(_TABLE).create(
            {"name": str, "applied_at": int}, pk="name", not_null={"applied_at"}, strict=True, if_not_exists=True
        )
        # The database's clock, in milliseconds: for people to read, nothing is decided by it.
        database.change(
            "INSERT INTO schema_migrations (name, applied_at) VALUES (?, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
            (name,),
        )
    except StatementRefused as error:
        raise StatementRefused(f"the migration {name!r} of {error}") from error
    except DatabaseError as error:
        raise StoreError(
            f"{database.name}: the migration {name!r} failed ({error}) and was rolled back; "
            "if the file has tables of the same names already, use a file of its own"
        ) from error


def applied_migrations(database: Database) -> set[str]:
    """The names of the migrations that `database` has; none when it is not one of ours."""
    if _TABLE in database.tables.view_names():
        raise SchemaMismatch(f"{database.name}: its {_TABLE} is a view: this is no database of ours; name another file")
    with database.explaining():
        return {str(row["name"]) for row in database.tables.table(_TABLE).rows}


def _refuse_unknown(database: Database, applied: set[str], migrations: Sequence[Migration]) -> None:
    unknown = sorted(applied - {name for name, _ in migrations})
    if unknown:
        raise SchemaMismatch(
            f"{database.name}: has the migration {unknown[0]!r}, which this release does not know: the file was made "
            "by a newer release, or is another kind of database; install the newer release, or name another file"
        )
