"""Payments, and the book of every amount that moved.

A payment's row says how it stands now; `movements` is only ever added to. The two are written by
different statements, so that comparing them finds an amount that was moved twice or not at all.
"""

from typing import Literal, cast

from sagas.ports import Migration, Sql
from sagas.runtime.handlers import Ticket

State = Literal["captured", "refunded", "pending", "voided"]


def _create(sql: Sql) -> None:
    sql.execute(
        "CREATE TABLE payments ("
        " payment_id TEXT NOT NULL PRIMARY KEY,"
        " order_id TEXT NOT NULL UNIQUE,"
        " amount INTEGER NOT NULL CHECK (amount >= 0),"
        " state TEXT NOT NULL CHECK (state IN ('captured', 'refunded', 'pending', 'voided'))"
        ") STRICT, WITHOUT ROWID"
    )
    sql.execute(
        "CREATE TABLE movements ("
        " seq INTEGER NOT NULL PRIMARY KEY,"
        " payment_id TEXT NOT NULL REFERENCES payments,"
        " cents INTEGER NOT NULL"
        ") STRICT"
    )
    sql.execute(
        "CREATE TABLE tickets ("
        " order_id TEXT NOT NULL PRIMARY KEY,"
        " instance_id TEXT NOT NULL,"
        " step TEXT NOT NULL"
        ") STRICT, WITHOUT ROWID"
    )


MIGRATIONS: tuple[Migration, ...] = (("001-payments", _create),)


def capture(sql: Sql, payment_id: str, order_id: str, cents: int) -> None:
    """Take the money."""
    _open(sql, payment_id, order_id, cents, "captured")
    _move(sql, payment_id, cents)


def await_bank(sql: Sql, payment_id: str, order_id: str, cents: int, ticket: Ticket) -> None:
    """Note that the bank was asked; `ticket` is for whoever brings its answer."""
    _open(sql, payment_id, order_id, cents, "pending")
    sql.execute(
        "INSERT INTO tickets (order_id, instance_id, step) VALUES (?, ?, ?)",
        (order_id, ticket.instance_id, ticket.step),
    )


def ticket_of(sql: Sql, order_id: str) -> Ticket | None:
    """The ticket of the order's payment while the bank's answer is awaited."""
    row = sql.execute(
        "SELECT instance_id, step FROM tickets JOIN payments USING (order_id) WHERE order_id = ? AND state = 'pending'",
        (order_id,),
    ).fetchone()
    return Ticket(cast(str, row[0]), cast(str, row[1])) if row is not None else None


def capture_pending(sql: Sql, payment_id: str) -> None:
    """The bank said yes after all: take the money of a pending payment."""
    if _change(sql, payment_id, "pending", "captured"):
        _move(sql, payment_id, _amount(sql, payment_id))


def give_back(sql: Sql, payment_id: str) -> None:
    """Refund what was captured, call off what is pending; nothing when there is neither."""
    if _change(sql, payment_id, "captured", "refunded"):
        _move(sql, payment_id, -_amount(sql, payment_id))
    _change(sql, payment_id, "pending", "voided")


def _open(sql: Sql, payment_id: str, order_id: str, cents: int, state: State) -> None:
    sql.execute(
        "INSERT INTO payments (payment_id, order_id, amount, state) VALUES (?, ?, ?, ?)",
        (payment_id, order_id, cents, state),
    )


def _change(sql: Sql, payment_id: str, before: State, after: State) -> bool:
    changed = sql.execute(
        "UPDATE payments SET state = ? WHERE payment_id = ? AND state = ? RETURNING payment_id",
        (after, payment_id, before),
    )
    return len(changed.fetchall()) > 0


def _amount(sql: Sql, payment_id: str) -> int:
    row = sql.execute("SELECT amount FROM payments WHERE payment_id = ?", (payment_id,)).fetchone()
    assert row is not None, f"payment {payment_id} was changed a moment ago and is gone"
    return cast(int, row[0])


def _move(sql: Sql, payment_id: str, cents: int) -> None:
    sql.execute("INSERT INTO movements (payment_id, cents) VALUES (?, ?)", (payment_id, cents))
