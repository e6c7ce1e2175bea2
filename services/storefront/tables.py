"""The storefront's own table: which key placed which order, and what was answered.

One row a key, written in the transaction that writes the order's event to the outbox: an order that was answered
for is published, and a key that comes again is given the same answer, byte for byte.
"""

from typing import cast

import msgspec

from sagas.ports import Migration, Sql

KEYS_KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a key is remembered: a client that repeats a request after a month means a new order."""

KEYS_FORGOTTEN_MAX = 500
"""In one transaction: orders wait for its end."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was accepted: `fingerprint` of what it asked for, `answer` as it was given."""

    key: str
    order_id: str
    fingerprint: bytes
    answer: bytes
    accepted_ms: int


def _create(sql: Sql) -> None:
    sql.execute(
        "CREATE TABLE placements ("
        " key TEXT NOT NULL PRIMARY KEY,"
        " order_id TEXT NOT NULL UNIQUE,"
        " fingerprint BLOB NOT NULL,"
        " answer BLOB NOT NULL,"
        " accepted_ms INTEGER NOT NULL"
        ") STRICT"
    )
    sql.execute("CREATE INDEX placements_age ON placements (accepted_ms)")


MIGRATIONS: tuple[Migration, ...] = (("001-placements", _create),)

_COLUMNS = "key, order_id, fingerprint, answer, accepted_ms"


def find(sql: Sql, key: str) -> Placement | None:
    """What the key has placed, None when it is new."""
    return _one(sql, f"SELECT {_COLUMNS} FROM placements WHERE key = ?", key)  # noqa: S608 - constants only


def find_order(sql: Sql, order_id: str) -> Placement | None:
    """What was answered for an order, None when it was not placed here."""
    return _one(sql, f"SELECT {_COLUMNS} FROM placements WHERE order_id = ?", order_id)  # noqa: S608 - constants only


def write_down(sql: Sql, placement: Placement) -> None:
    """Remember what a key has placed."""
    sql.execute(
        f"INSERT INTO placements ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - constants only
        msgspec.structs.astuple(placement),
    )


def forget(sql: Sql, before_ms: int) -> bool:
    """Forget a few keys that were used before `before_ms`; whether there may be more of them."""
    gone = sql.execute(
        "DELETE FROM placements WHERE key IN (SELECT key FROM placements WHERE accepted_ms < ? LIMIT ?) RETURNING 1",
        (before_ms, KEYS_FORGOTTEN_MAX),
    ).fetchall()
    return len(gone) >= KEYS_FORGOTTEN_MAX


def _one(sql: Sql, query: str, value: str) -> Placement | None:
    row = sql.execute(query, (value,)).fetchone()
    if row is None:
        return None
    key, order_id, fingerprint, answer, accepted_ms = row
    return Placement(
        key=cast(str, key),
        order_id=cast(str, order_id),
        fingerprint=cast(bytes, fingerprint),
        answer=cast(bytes, answer),
        accepted_ms=cast(int, accepted_ms),
    )
