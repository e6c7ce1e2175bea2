"""The proof: after all sagas have come to rest, no money and no stock is lost, and each order is whole or undone.

Theory of operation. `read_books` reads the four services' databases; `prove` compares, and touches
nothing. Each sum is checked between rows that different statements wrote: what moved against how the
payments stand, what was delivered against shelf and reservations. A write that was lost, or happened
twice, cannot leave both sides equal. Then each order is held against the end of its saga.

The four files are read one after the other, so the proof holds only while no saga is under way.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED
from sagas.errors import StoreError
from sagas.store.database import Database, DatabaseError
from services.money import to_amount


class ServiceFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where the databases of the services are."""

    orders: Path
    inventory: Path
    payments: Path
    shipping: Path

    @classmethod
    def within(cls, folder: Path) -> "ServiceFiles":
        """The files as the services name them in their data folder."""
        names = ("orders", "inventory", "payments", "shipping")
        return cls(**{name: folder / f"{name}.db" for name in names})


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What the services have written down. Amounts are cents; states and counts are by order id.

    `paid_in` and `paid_back` are what moved, ever; `payments` is how each payment stands now: state and
    amount, as `orders` is each order's state and total.
    """

    orders: Mapping[str, tuple[str, int]] = {}
    paid_in: int = 0
    paid_back: int = 0
    payments: Mapping[str, tuple[str, int]] = {}
    delivered: int = 0
    on_shelf: int = 0
    reserved: Mapping[str, int] = {}
    """Pieces that orders hold; an order whose reservation was released holds 0."""
    shipments: frozenset[str] = frozenset()


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The figures, and what does not fit: nothing when the proof holds. Amounts are cents, stock is pieces."""

    money_in: int
    captured: int
    refunded: int
    stock_in: int
    on_shelf: int
    sold: int
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        money = (
            f"money in {_money(self.money_in)} = captured {_money(self.captured)} + refunded {_money(self.refunded)}"
        )
        return f"{money}      stock {self.stock_in:,} = shelf {self.on_shelf:,} + sold {self.sold:,}"


def prove_files(files: ServiceFiles, outcomes: Mapping[str, str]) -> Proof:
    """Read the databases and prove them against `outcomes`: order id → the state its saga has come to.

    Raises StoreError when a file is missing or is no database of its service.
    """
    return prove(read_books(files), outcomes)


def prove(books: Books, outcomes: Mapping[str, str]) -> Proof:
    """Hold the books against each other, and each order against the end of its saga."""
    captured = sum(cents for state, cents in books.payments.values() if state == "captured")
    sold = sum(books.reserved.values())
    problems = [*_sums(books, captured, sold), *_strangers(books, outcomes)]
    for order_id, state in outcomes.items():
        problems += (f"order {order_id} is {state}, but {what}" for what in _contradictions(books, order_id, state))
    return Proof(
        money_in=books.paid_in,
        captured=captured,
        refunded=books.paid_back,
        stock_in=books.delivered,
        on_shelf=books.on_shelf,
        sold=sold,
        problems=tuple(problems),
    )


def _sums(books: Books, captured: int, sold: int) -> Iterator[str]:
    if books.paid_in != captured + books.paid_back:
        yield (
            f"money: {_money(books.paid_in)} came in, {_money(captured)} stands captured and "
            f"{_money(books.paid_back)} was refunded: {_money(books.paid_in - captured - books.paid_back)} is nowhere"
        )
    refunded = sum(cents for state, cents in books.payments.values() if state == "refunded")
    if refunded != books.paid_back:
        yield f"money: payments of {_money(refunded)} are marked refunded, {_money(books.paid_back)} moved"
    if books.delivered != books.on_shelf + sold:
        yield (
            f"stock: {books.delivered:,} pieces were delivered, {books.on_shelf:,} are on the shelf and {sold:,} sold: "
            f"{books.delivered - books.on_shelf - sold:,} are nowhere"
        )


def _strangers(books: Books, outcomes: Mapping[str, str]) -> Iterator[str]:
    """What a service keeps for an order that no saga knows."""
    kept = {
        "orders": books.orders,
        "inventory": books.reserved,
        "payments": books.payments,
        "shipping": books.shipments,
    }
    for service, order_ids in kept.items():
        for order_id in sorted(set(order_ids) - set(outcomes)):
            yield f"order {order_id}: {service} has it, and no saga does"


def _contradictions(books: Books, order_id: str, state: str) -> Iterator[str]:
    """What the services say of one order that its saga's end does not allow."""
    order, total = books.orders.get(order_id, ("", 0))
    payment, amount = books.payments.get(order_id, ("", 0))
    held = books.reserved.get(order_id, 0)
    is_shipped = order_id in books.shipments
    if state == COMPLETED:
        if order != "created":
            yield f"its order is {order or 'not written down'}"
        if not held:
            yield "nothing is reserved for it"
        if payment != "captured":
            yield f"its payment is {payment or 'missing'}"
        elif order and amount != total:
            yield f"{_money(amount)} was captured for a total of {_money(total)}"
        if not is_shipped:
            yield "no parcel was sent"
    elif state in (COMPENSATED, REJECTED):
        if order == "created":
            yield "its order still stands"
        if held:
            yield f"{held:,} pieces are still reserved for it"
        if payment in ("captured", "pending"):
            yield f"its payment is {payment}"
        if is_shipped:
            yield "a parcel was sent"
    else:
        yield "only completed, compensated and rejected orders can be proved"


# --------------------------------------------------------------------------- reading


_RESERVED = "SELECT order_id, sum(quantity * (state = 'reserved')) FROM reservations GROUP BY order_id"


def read_books(files: ServiceFiles) -> Books:
    """What the services have written down. Raises StoreError when a file is missing or not of its service."""
    with _reading(files.orders) as database:
        orders = {
            order_id: (state, total)
            for order_id, state, total in database.rows("SELECT order_id, state, total FROM orders")
        }
    with _reading(files.inventory) as database:
        ((delivered, on_shelf),) = database.rows(
            "SELECT coalesce(sum(delivered), 0), coalesce(sum(on_shelf), 0) FROM products"
        )
        reserved: dict[str, int] = dict(database.rows(_RESERVED))
    with _reading(files.payments) as database:
        ((paid_in, paid_back),) = database.rows(
            "SELECT coalesce(sum(max(cents, 0)), 0), coalesce(sum(max(-cents, 0)), 0) FROM movements"
        )
        payments = {
            order_id: (state, cents)
            for order_id, state, cents in database.rows("SELECT order_id, state, amount FROM payments")
        }
    with _reading(files.shipping) as database:
        shipments = frozenset(order_id for (order_id,) in database.rows("SELECT order_id FROM shipments"))
    return Books(
        orders=orders,
        paid_in=paid_in,
        paid_back=paid_back,
        payments=payments,
        delivered=delivered,
        on_shelf=on_shelf,
        reserved=reserved,
        shipments=shipments,
    )


@contextmanager
def _reading(path: Path) -> Generator[Database, None, None]:
    """One file as it stands at one moment: the service may be writing at the same time."""
    if not path.exists():
        raise StoreError(f"no service database at {path}; start the services (make up), or name their data folder")
    database = Database(path, read_only=True)
    try:
        database.rows("BEGIN")
        yield database
        database.rows("COMMIT")
    except DatabaseError as error:
        raise StoreError(
            f"{path}: is no database of its service ({error}); start that service once, or name another data folder"
        ) from error
    finally:
        database.close()


def _money(cents: int) -> str:
    # For people: with thousands separated, which the wire format must not have.
    whole, _, fraction = to_amount(abs(cents)).partition(".")
    return f"{'-' if cents < 0 else ''}{int(whole):,}.{fraction}"
