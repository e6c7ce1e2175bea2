"""The read model: one row an order, and one row for each thing that happened to it. Written by the projector alone.

Nothing here depends on when it was written: the same messages make the same rows, in any order between topics.
"""

from typing import Literal

import msgspec

from sagas.ports import Migration, Sql

NAME = "orders-view"
"""Of the projection: its files and its consumer groups are called so."""

State = Literal["accepted", "running", "compensating", "stuck", "completed", "compensated", "rejected", "abandoned"]
"""Where an order stands. *accepted*: its saga has not begun; *compensating*: it is turning back."""

ENDS: tuple[State, ...] = ("completed", "compensated", "rejected", "abandoned")

Operation = Literal["do", "undo"]
Outcome = Literal["", "ok", "refused", "unknown", "late"]
"""Of an answer; "" when what happened was none. *unknown*: there was none in time."""


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order. Times are Unix ms, `total` is in cents, `items` is JSON.

    `source` says where items, total and address are from: 0 nowhere yet, 1 the client's event, 2 the saga's own
    beginning, which is what is carried out. `revision` is that of the last entry of its saga's journal. What the
    services say stands in a column each: `booking`, `inventory`, `payment`, `shipping`, "" for nothing yet. An id may
    be used anew after its run was purged: `run` is the saga's run that the row tells of, `served` the one that the
    services' words are of, "" for none yet.
    """

    order_id: str
    listed_ms: int
    source: int = 0
    items: str = "[]"
    total: int = 0
    address: str = ""
    state: State = "accepted"
    cause: str = ""
    revision: int = 0
    updated_ms: int = 0
    booking: str = ""
    inventory: str = ""
    payment: str = ""
    payment_id: str = ""
    shipping: str = ""
    tracking: str = ""
    run: str = ""
    served: str = ""


class Asked(msgspec.Struct, frozen=True):
    """An operation of a step that was asked for."""

    step: str
    operation: Operation


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an order's saga's journal: what came in, in words, and what was asked then.

    `step`, `operation`, `outcome` and `why` tell of an answer, "" when it was none. `asked` is JSON.
    """

    order_id: str
    revision: int
    at_ms: int
    state: State
    cause: str = ""
    step: str = ""
    operation: Operation = "do"
    outcome: Outcome = ""
    why: str = ""
    asked: str = "[]"
    words: str = ""


_ORDER_COLUMNS = ", ".join(OrderRow.__struct_fields__)
_ENTRY_COLUMNS = ", ".join(EntryRow.__struct_fields__)

ORDER_QUERY = f"SELECT {_ORDER_COLUMNS} FROM orders"  # noqa: S608 - constants only
ENTRY_QUERY = f"SELECT {_ENTRY_COLUMNS} FROM entries"  # noqa: S608 - constants only


def _create(sql: Sql) -> None:
    sql.execute(
        "CREATE TABLE orders ("
        " order_id TEXT NOT NULL PRIMARY KEY, listed_ms INTEGER NOT NULL, source INTEGER NOT NULL,"
        " items TEXT NOT NULL, total INTEGER NOT NULL, address TEXT NOT NULL,"
        " state TEXT NOT NULL, cause TEXT NOT NULL, revision INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
        " booking TEXT NOT NULL, inventory TEXT NOT NULL, payment TEXT NOT NULL, payment_id TEXT NOT NULL,"
        " shipping TEXT NOT NULL, tracking TEXT NOT NULL"
        ") STRICT, WITHOUT ROWID"
    )
    # For pages, newest first: of all, and of one state.
    sql.execute("CREATE INDEX orders_listed ON orders (listed_ms, order_id)")
    sql.execute("CREATE INDEX orders_state ON orders (state, listed_ms, order_id)")
    sql.execute(
        "CREATE TABLE entries ("
        " order_id TEXT NOT NULL, revision INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
        " state TEXT NOT NULL, cause TEXT NOT NULL, step TEXT NOT NULL, operation TEXT NOT NULL,"
        " outcome TEXT NOT NULL, why TEXT NOT NULL, asked TEXT NOT NULL, words TEXT NOT NULL,"
        " PRIMARY KEY (order_id, revision)"
        ") STRICT, WITHOUT ROWID"
    )


def _note_runs(sql: Sql) -> None:
    sql.execute("ALTER TABLE orders ADD COLUMN run TEXT NOT NULL DEFAULT ''")
    sql.execute("ALTER TABLE orders ADD COLUMN served TEXT NOT NULL DEFAULT ''")


MIGRATIONS: tuple[Migration, ...] = (("001-orders-and-entries", _create), ("002-runs", _note_runs))


def find(sql: Sql, order_id: str) -> OrderRow | None:
    """The row of an order, None when there is none yet."""
    row = sql.execute(f"{ORDER_QUERY} WHERE order_id = ?", (order_id,)).fetchone()
    return None if row is None else order_row(row)


def save(sql: Sql, row: OrderRow) -> None:
    """Write the row of an order in the place of what was there."""
    marks = ", ".join("?" * len(OrderRow.__struct_fields__))
    sql.execute(
        f"INSERT OR REPLACE INTO orders ({_ORDER_COLUMNS}) VALUES ({marks})",  # noqa: S608 - constants only
        msgspec.structs.astuple(row),
    )


def enter(sql: Sql, row: EntryRow) -> None:
    """Write an entry; one that is there stays as it is."""
    marks = ", ".join("?" * len(EntryRow.__struct_fields__))
    sql.execute(
        f"INSERT OR IGNORE INTO entries ({_ENTRY_COLUMNS}) VALUES ({marks})",  # noqa: S608 - constants only
        msgspec.structs.astuple(row),
    )


def forget_entries(sql: Sql, order_id: str) -> None:
    """Remove the entries of an order: they tell of a run before."""
    sql.execute("DELETE FROM entries WHERE order_id = ?", (order_id,))


def order_row(row: tuple[object, ...]) -> OrderRow:
    """A row of `ORDER_QUERY`."""
    return msgspec.convert(dict(zip(OrderRow.__struct_fields__, row, strict=True)), OrderRow)


def entry_row(row: tuple[object, ...]) -> EntryRow:
    """A row of `ENTRY_QUERY`."""
    return msgspec.convert(dict(zip(EntryRow.__struct_fields__, row, strict=True)), EntryRow)
