"""The demo's shop for the simulated world: its orders from a seed, the bank that answers late, and the proof.

The order saga is the real one with its times shortened: half a minute of patience would outlast most faults
of a simulated run, and the races between a timeout and an answer would never come up.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import cast

from sagas.core.definition import Definition
from sagas.core.instance import STUCK
from sagas.ports import ParticipantStore, ParticipantTransaction
from sagas.testing.simulation import Aftermath, Subject
from services.contracts import Item, OrderCreated
from services.inventory.handlers import inventory
from services.inventory.tables import migrations as inventory_migrations
from services.orders.handlers import orders
from services.orders.saga import order_saga
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.payments.handlers import bank_says_yes, payments
from services.payments.rules import DECLINED, SILENT
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from services.proof import Books, prove
from services.shipping.handlers import shipping
from services.shipping.rules import UNREACHABLE
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES

STOCK: Mapping[str, int] = {"kettle": 6, "mug": 400, "unicorn": 0}
"""Kettles run out within a run, so that orders meet on the shelf."""

_TIMEOUTS_MS = {"create": 700, "reserve": 700, "pay": 600, "ship": 900}
_DEADLINE_MS = 3_500
_NEVER = "o-never"
_RESERVED = "SELECT order_id, sum(quantity * (state = 'reserved')) FROM reservations GROUP BY order_id"
_BANK_ANSWERS = 0.25
"""How probable it is that the bank answers a pending payment, each time it is looked at."""


def _hurried(definition: Definition) -> Definition:
    steps = {
        name: replace(spec, timeout_ms=_TIMEOUTS_MS[name], resend_ms=_TIMEOUTS_MS[name] // 3, expires=name == "reserve")
        for name, spec in definition.steps.items()
    }
    return replace(definition, steps=steps, deadline_ms=_DEADLINE_MS)


def workload(seed: int) -> list[OrderCreated]:
    """A few orders: most are good, the others fail in every way there is."""
    random = Random(f"{seed}:orders")
    return [_order(random, f"o-{number}") for number in range(1, random.randint(3, 6))]


def _order(random: Random, order_id: str) -> OrderCreated:
    kind = random.random()
    return OrderCreated(
        order_id=order_id,
        items=(Item("unicorn" if kind < 0.08 else random.choice(("kettle", "mug")), random.randint(1, 3)),),
        total="0.00" if 0.08 <= kind < 0.12 else f"{random.randint(1, 400)}.50",
        card=DECLINED if 0.12 <= kind < 0.22 else SILENT if 0.22 <= kind < 0.4 else "card-ok",
        address=UNREACHABLE if 0.4 <= kind < 0.52 else "1 Harbour Street",
    )


def _an_order(
    order_id: str,
    *,
    product: str = "mug",
    total: str = "59.98",
    card: str = "card-ok",
    address: str = "1 Harbour Street",
) -> OrderCreated:
    return OrderCreated(order_id=order_id, items=(Item(product, 2),), total=total, card=card, address=address)


def bank(stores: Mapping[str, ParticipantStore], random: Random, now_ms: int, is_certain: bool) -> None:
    """The bank's word on pending payments: it comes late, and sometimes never."""
    with stores["payments"].transaction() as transaction:
        pending = transaction.sql.execute("SELECT order_id FROM payments WHERE state = 'pending' ORDER BY order_id")
        for (order_id,) in pending.fetchall():
            if order_id != _NEVER and random.random() < (1 if is_certain else _BANK_ANSWERS):
                bank_says_yes(transaction, cast(str, order_id), now_ms)


def check(aftermath: Aftermath) -> Iterator[str]:
    """The proof of money and stock; a stuck order is its operator's and not proved."""
    stuck = {instance.key for instance in aftermath.instances if instance.state == STUCK}
    outcomes = {instance.key: instance.state for instance in aftermath.instances}
    for problem in prove(_books(aftermath.stores), outcomes).problems:
        if not any(f"order {key} " in problem for key in stuck):
            yield problem


def _books(stores: Mapping[str, ParticipantStore]) -> Books:
    with stores["orders"].transaction() as transaction:
        orders_kept = _by_order(transaction, "SELECT order_id, state, total FROM orders")
    with stores["inventory"].transaction() as transaction:
        stock = "SELECT coalesce(sum(delivered), 0), coalesce(sum(on_shelf), 0) FROM products"
        delivered, on_shelf = _numbers(transaction, stock)
        held = transaction.sql.execute(_RESERVED).fetchall()
    with stores["payments"].transaction() as transaction:
        moved = "SELECT coalesce(sum(max(cents, 0)), 0), coalesce(sum(max(-cents, 0)), 0) FROM movements"
        paid_in, paid_back = _numbers(transaction, moved)
        payments_kept = _by_order(transaction, "SELECT order_id, state, amount FROM payments")
    with stores["shipping"].transaction() as transaction:
        sent = transaction.sql.execute("SELECT order_id FROM shipments").fetchall()
    return Books(
        orders=orders_kept,
        paid_in=paid_in,
        paid_back=paid_back,
        payments=payments_kept,
        delivered=delivered,
        on_shelf=on_shelf,
        reserved={cast(str, order_id): cast(int, count) for order_id, count in held},
        shipments=frozenset(cast(str, order_id) for (order_id,) in sent),
    )


def _by_order(transaction: ParticipantTransaction, sql: str) -> dict[str, tuple[str, int]]:
    rows: Iterable[tuple[object, ...]] = transaction.sql.execute(sql).fetchall()
    return {cast(str, order_id): (cast(str, state), cast(int, cents)) for order_id, state, cents in rows}


def _numbers(transaction: ParticipantTransaction, sql: str) -> tuple[int, int]:
    row = transaction.sql.execute(sql).fetchone()
    assert row is not None, "a sum always has a row"
    return cast(int, row[0]), cast(int, row[1])


shop = Subject(
    name="shop",
    definitions=[_hurried(order_saga.definition)],
    services={
        orders: ORDERS_TABLES,
        inventory: inventory_migrations(STOCK),
        payments: PAYMENTS_TABLES,
        shipping: SHIPPING_TABLES,
    },
    workload=workload,
    check=check,
    outside=bank,
    stories={
        "completes": [_an_order("o-1")],
        "refused at create": [_an_order("o-1", total="0.00")],
        "refused at reserve": [_an_order("o-1", product="unicorn")],
        "refused at pay": [_an_order("o-1", card=DECLINED)],
        "refused at ship": [_an_order("o-1", address=UNREACHABLE)],
        "the bank is slow": [_an_order("o-1", card=SILENT)],
        "the bank never answers": [_an_order(_NEVER, card=SILENT)],
    },
)
