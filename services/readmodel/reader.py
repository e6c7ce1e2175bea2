"""Reading the read model while it is written, and while a rebuilt one takes its place.

Theory of operation. The pointer says which generation is current (`sagas/store/generations.py`): it is looked at before
each query, and when it says another number that file is opened. A file that was removed in between makes it look
once more. Without a pointer there is no read model yet, and nothing in it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from sagas.errors import StoreError
from sagas.store.database import Database, DatabaseError, Row
from sagas.store.generations import Generations
from services.readmodel.tables import ENTRY_QUERY, NAME, ORDER_QUERY, EntryRow, OrderRow, entry_row, order_row


class Place(msgspec.Struct, frozen=True):
    """Where a page ended: the next one begins behind it."""

    listed_ms: int
    order_id: str


class Reader:
    """The read model in `folder`, for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._generations = Generations(folder, NAME)
        self._generation: int | None = None
        self._database: Database | None = None

    def order(self, order_id: str) -> OrderRow | None:
        """An order, None when the read model has none of that id (yet)."""
        rows = self._ask(lambda database: database.rows(f"{ORDER_QUERY} WHERE order_id = ?", (order_id,)))
        return order_row(rows[0]) if rows else None

    def page(self, count_max: int, *, state: str = "", after: Place | None = None) -> list[OrderRow]:
        """Orders, newest first; "" for any state; behind `after`, when it is given."""
        conditions: list[str] = []
        values: list[object] = []
        if state:
            conditions.append("state = ?")
            values.append(state)
        if after is not None:
            conditions.append("(listed_ms, order_id) < (?, ?)")
            values += [after.listed_ms, after.order_id]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"{ORDER_QUERY} {where} ORDER BY listed_ms DESC, order_id DESC LIMIT ?"
        return [order_row(row) for row in self._ask(lambda database: database.rows(query, (*values, count_max)))]

    def entries(self, order_id: str) -> list[EntryRow]:
        """What happened to an order, oldest first."""
        query = f"{ENTRY_QUERY} WHERE order_id = ? ORDER BY revision"
        return [entry_row(row) for row in self._ask(lambda database: database.rows(query, (order_id,)))]

    def version(self) -> tuple[int | None, int]:
        """What changes whenever somebody has written: generation and SQLite's own count. Cheap."""
        rows = self._ask(lambda database: database.rows("PRAGMA data_version"))
        return self._generation, rows[0][0] if rows else 0

    def close(self) -> None:
        """Close the file. It is opened again when something is asked."""
        if self._database is not None:
            self._database.close()
        self._database = None
        self._generation = None

    def _ask(self, query: Callable[[Database], Sequence[Row]]) -> Sequence[Row]:
        for attempt in (1, 2):
            try:
                database = self._open()
                return [] if database is None else query(database)
            except (StoreError, DatabaseError) as error:
                self.close()
                if attempt == 2:
                    raise StoreError(f"the read model cannot be read ({error}); rebuild it: make rebuild") from error
        raise AssertionError("the second attempt returns or raises")

    def _open(self) -> Database | None:
        current = self._generations.current()
        if current != self._generation:
            self.close()
        if self._database is None and current is not None and self._generations.path(current).exists():
            self._database = Database(self._generations.path(current), read_only=True)
            self._generation = current
        return self._database
