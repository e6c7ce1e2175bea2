"""The orders table: one row an order, written once and at most cancelled."""

from sagas.ports import Migration, Sql


def _create(sql: Sql) -> None:
    # The card is not among the columns: what an order does not need later is not kept.
    sql.execute(
        "CREATE TABLE orders ("
        " order_id TEXT NOT NULL PRIMARY KEY,"
        " total INTEGER NOT NULL CHECK (total > 0),"
        " state TEXT NOT NULL CHECK (state IN ('created', 'cancelled')),"
        " items TEXT NOT NULL CHECK (json_valid(items)),"
        " address TEXT NOT NULL"
        ") STRICT, WITHOUT ROWID"
    )


MIGRATIONS: tuple[Migration, ...] = (("001-orders", _create),)


def write_down(sql: Sql, order_id: str, cents: int, items: str, address: str) -> None:
    """A new order."""
    sql.execute(
        "INSERT INTO orders (order_id, total, state, items, address) VALUES (?, ?, 'created', ?, ?)",
        (order_id, cents, items, address),
    )


def cancel(sql: Sql, order_id: str) -> None:
    """Cancel an order; one that is cancelled already, or was never written down, stays as it is."""
    sql.execute("UPDATE orders SET state = 'cancelled' WHERE order_id = ? AND state = 'created'", (order_id,))
