"""The shelf and what is set aside from it.

`delivered` is what a product's stock began with and never changes, so that anybody can check:
delivered = on the shelf + reserved.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from sagas.ports import Migration, Sql
from services.inventory.rules import Line

DEMO_STOCK: Mapping[str, int] = {"123": 999_000, "kettle": 500, "teapot": 300, "mug": 200, "unicorn": 0}
"""What the demo's shelf begins with: a million pieces in all, and not one unicorn."""


def migrations(stock: Mapping[str, int] = DEMO_STOCK) -> tuple[Migration, ...]:
    """The service's tables, and a shelf that begins with `stock`."""

    def fill_the_shelf(sql: Sql) -> None:
        for product_id, count in stock.items():
            sql.execute(
                "INSERT INTO products (product_id, delivered, on_shelf) VALUES (?, ?, ?)", (product_id, count, count)
            )

    return (("001-inventory", _create), ("002-first-delivery", fill_the_shelf))


def _create(sql: Sql) -> None:
    sql.execute(
        "CREATE TABLE products ("
        " product_id TEXT NOT NULL PRIMARY KEY,"
        " delivered INTEGER NOT NULL CHECK (delivered >= 0),"
        " on_shelf INTEGER NOT NULL CHECK (on_shelf >= 0)"
        ") STRICT, WITHOUT ROWID"
    )
    sql.execute(
        "CREATE TABLE reservations ("
        " order_id TEXT NOT NULL,"
        " product_id TEXT NOT NULL REFERENCES products,"
        " quantity INTEGER NOT NULL CHECK (quantity > 0),"
        " state TEXT NOT NULL CHECK (state IN ('reserved', 'released')),"
        " PRIMARY KEY (order_id, product_id)"
        ") STRICT, WITHOUT ROWID"
    )


MIGRATIONS = migrations()


def shelf(sql: Sql, product_ids: Sequence[str]) -> dict[str, int]:
    """How much of each of these products is on the shelf; one that was never delivered is missing."""
    found: dict[str, int] = {}
    for product_id in product_ids:
        row = sql.execute("SELECT on_shelf FROM products WHERE product_id = ?", (product_id,)).fetchone()
        if row is not None:
            found[product_id] = cast(int, row[0])
    return found


def take(sql: Sql, order_id: str, lines: Iterable[Line]) -> None:
    """Move the lines from the shelf to the order."""
    for line in lines:
        sql.execute(
            "UPDATE products SET on_shelf = on_shelf - ? WHERE product_id = ?", (line.quantity, line.product_id)
        )
        sql.execute(
            "INSERT INTO reservations (order_id, product_id, quantity, state) VALUES (?, ?, ?, 'reserved')",
            (order_id, line.product_id, line.quantity),
        )


def put_back(sql: Sql, order_id: str) -> None:
    """Move what the order still holds back to the shelf; nothing when it holds nothing."""
    held = sql.execute(
        "SELECT product_id, quantity FROM reservations WHERE order_id = ? AND state = 'reserved'", (order_id,)
    ).fetchall()
    for product_id, quantity in held:
        sql.execute("UPDATE products SET on_shelf = on_shelf + ? WHERE product_id = ?", (quantity, product_id))
    sql.execute("UPDATE reservations SET state = 'released' WHERE order_id = ? AND state = 'reserved'", (order_id,))
