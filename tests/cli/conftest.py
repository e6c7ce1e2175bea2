"""A database with a past in it, and the command line to ask it with."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sagas.cli.main import cli
from sagas.ports import Changes
from sagas.store.sqlite import SqliteStore
from services.contracts import (
    InventoryReleased,
    InventoryReserved,
    Item,
    OrderCompensated,
    OrderCreated,
    PaymentFailed,
    PaymentProcessed,
)
from services.orders.saga import OrderData, order_saga
from tests.core.past import NOW_MS, Past
from tests.core.trip import RoomBooked, SeatHeld, Trip, trip_saga

ITEMS = (Item("kettle", 1),)


class Terminal:
    """Types commands, as somebody in a folder with these databases would."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "orchestrator.db"

    def type(self, *arguments: str, given: str = "") -> Result:
        """Run `sagas` with these arguments, and `given` on standard input."""
        return CliRunner(env={"SAGAS_DATA": str(self.database.parent)}).invoke(
            cli, list(arguments), prog_name="sagas", input=given
        )

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        result = self.type(*arguments, "--json")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return json.loads(result.stdout)


def an_order(key: str, *, started_ms: int = NOW_MS) -> Past:
    """An order that was written down and reserved."""
    data = OrderData(key, ITEMS, "59.98", "card-ok", "1 Harbour Street")
    return (
        Past(order_saga.definition, key, data, started_ms=started_ms)
        .reply("create", OrderCreated(order_id=key, items=ITEMS, total="59.98"))
        .reply("reserve", InventoryReserved(order_id=key))
    )


def a_declined_order(key: str, reason: str = "card declined") -> Past:
    """An order that turned back because of its card."""
    return (
        an_order(key)
        .reply("pay", PaymentFailed(order_id=key, reason=reason))
        .undo_reply("reserve", InventoryReleased(order_id=key))
        .undo_reply("create", OrderCompensated(order_id=key))
    )


def an_order_being_shipped(key: str) -> Past:
    """An order on its way."""
    return an_order(key, started_ms=NOW_MS + 1_000).reply("pay", PaymentProcessed(order_id=key, payment_id="p-1"))


def a_stuck_trip(key: str) -> Past:
    """A run of another saga, stuck at its pivot."""
    return (
        Past(trip_saga.definition, key, Trip(key, 2), started_ms=NOW_MS + 2_000)
        .reply("room", RoomBooked(trip_id=key, room=7))
        .reply("seat", SeatHeld(trip_id=key))
        .timeout("ticket")
    )


def write(terminal: Terminal, pasts: Sequence[Past]) -> None:
    """Write these instances and their journals through the store's port."""
    store = SqliteStore(terminal.database)
    changes = Changes(now_ms=NOW_MS)
    for past in pasts:
        changes.created.append(past.instance)
        changes.journal.extend(past.journal)
    try:
        with store.transaction() as transaction:
            transaction.write(changes)
    finally:
        store.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """With nothing there yet."""
    return Terminal(tmp_path)


@pytest.fixture
def full(terminal: Terminal) -> Terminal:
    """With one instance that turned back, one on its way and one that is stuck."""
    write(terminal, [a_declined_order("o-1"), an_order_being_shipped("o-2"), a_stuck_trip("t-1")])
    return terminal
