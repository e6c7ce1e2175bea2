"""What differs between two files that should be equal: row by row, column by column.

Both are read in the order of their primary keys and walked side by side, so that neither has to fit into memory.
Columns that only one of them has are not compared but named: another release made that file.

A virtual table, a full-text index for one, is compared by what it answers, and the tables in which it keeps that are
left out: how its index is built depends on how many rows were committed at once.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from sagas.store.database import Database, Row

KIT_TABLES = frozenset(
    (
        "barrier",
        "barrier_forgotten",
        "dead_letters",
        "outbox",
        "processed_events",
        "schema_migrations",
        "projection_positions",
    )
)
"""What is in every participant's or projection's file: when things came, not what they came to."""

_OWN = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') ORDER BY name"
_ROWID = "rowid"

Columns = tuple[str, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs. `key` and `column` are "" where a whole table or row is only in one file."""

    table: str
    key: str
    column: str = ""
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        at = f"{self.table} {self.key}".rstrip()
        if not self.column:
            return f"{at}: only in the {'new' if self.new else 'old'} one"
        return f"{at}: {self.column} {self.old} -> {self.new}"


class Snapshot:
    """A file as it is at one moment, while others go on writing to it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def tables(self) -> dict[str, tuple[Columns, Columns]]:
        """Its own tables, each with its columns and its primary key."""
        found: dict[str, tuple[Columns, Columns]] = {}
        for name, kind in self.database.rows(_OWN):
            if name in KIT_TABLES or name.startswith("sqlite_"):
                continue
            infos = self.database.rows("SELECT name, pk FROM pragma_table_info(?)", (name,))
            columns = tuple(str(column) for column, _ in infos)
            key = tuple(str(column) for column, rank in sorted(infos, key=lambda row: row[1]) if rank)
            if kind == "virtual" and not key and _ROWID not in columns:
                columns, key = (_ROWID, *columns), (_ROWID,)
            found[str(name)] = columns, key
        return found

    def rows(self, sql: str) -> Iterator[Row]:
        """The rows of a query, one at a time."""
        with self.database.explaining():
            yield from self.database.connection.execute(sql)


@contextmanager
def snapshot(path: Path) -> Generator[Snapshot]:
    """The file at `path` as it is now, until the block ends. Raises StoreError when it cannot be read."""
    with closing(Database(path, read_only=True)) as database:
        with database.explaining():
            database.connection.execute("BEGIN")
            # A reading transaction begins with its first read.
            database.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield Snapshot(database)


def differences(old: Snapshot, new: Snapshot) -> Iterator[Difference]:
    """What differs, table by table. Tables without a primary key are compared as the sets of their rows."""
    old_tables, new_tables = old.tables(), new.tables()
    for name in sorted(old_tables.keys() | new_tables.keys()):
        if name not in old_tables or name not in new_tables:
            yield Difference(table=name, key="", new="table" if name in new_tables else "")
            continue
        (old_columns, key), (new_columns, new_key) = old_tables[name], new_tables[name]
        shared = tuple(column for column in old_columns if column in new_columns)
        for column in sorted(set(old_columns) ^ set(new_columns)):
            yield Difference(table=name, key=f"column {column}", new="column" if column in new_columns else "")
        if key == new_key and key:
            yield from _in_table(old, new, name, key, tuple(column for column in shared if column not in key))
        else:
            yield from _in_table(old, new, name, shared, ())


def count_rows(found: Snapshot) -> int:
    """How many rows its own tables have together."""
    return sum(
        int(found.database.value(f"SELECT count(*) FROM {_quoted(name)}"))  # noqa: S608 - a table's own name
        for name in found.tables()
    )


def _in_table(old: Snapshot, new: Snapshot, table: str, key: Columns, others: Columns) -> Iterator[Difference]:
    named = ", ".join(map(_quoted, (*key, *others)))
    # As `_rank` sorts them, whatever order a column has of its own.
    order = ", ".join(f"{_quoted(column)} COLLATE BINARY" for column in key)
    query = f"SELECT {named} FROM {_quoted(table)} ORDER BY {order}"  # noqa: S608 - names of the schema
    before, after = old.rows(query), new.rows(query)
    width = len(key)
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _rank(one[:width]) < _rank(other[:width])):
            assert one is not None
            yield Difference(table=table, key=_told(one[:width]))
            one = next(before, None)
        elif one is None or _rank(other[:width]) < _rank(one[:width]):
            yield Difference(table=table, key=_told(other[:width]), new="row")
            other = next(after, None)
        else:
            for column, was, becomes in zip(others, one[width:], other[width:], strict=True):
                if was != becomes:
                    yield Difference(
                        table=table, key=_told(one[:width]), column=column, old=_told([was]), new=_told([becomes])
                    )
            one, other = next(before, None), next(after, None)


def _rank(values: Sequence[object]) -> tuple[tuple[int, object], ...]:
    """As SQLite sorts: NULL, numbers, texts by their bytes, blobs."""
    ranked: list[tuple[int, object]] = []
    for value in values:
        if value is None:
            ranked.append((0, 0))
        elif isinstance(value, int | float):
            ranked.append((1, value))
        elif isinstance(value, str):
            ranked.append((2, value.encode()))
        else:
            ranked.append((3, value))
    return tuple(ranked)


def _told(values: Sequence[object]) -> str:
    return " ".join(str(value) if isinstance(value, int) else repr(value)[:120] for value in values)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
