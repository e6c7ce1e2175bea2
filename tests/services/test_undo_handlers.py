"""When a service's undo handler runs at all: only if there may be something to undo."""

from collections.abc import Callable

import pytest

from sagas import Command, Rejection
from sagas.core.messages import Undeliverable, tag_of
from sagas.ports import Sql
from sagas.runtime.participant import Service
from services.contracts import (
    INVENTORY,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    Item,
    ReleaseInventory,
    ReserveInventory,
)
from tests.services.desk import Desk

RESERVE = ReserveInventory(order_id="o-1", items=(Item("kettle", 1),))
RELEASE = ReleaseInventory(order_id="o-1")


def reserve(desk: Desk) -> None:
    """The reservation arrives."""
    desk.hand(RESERVE, "reserve")


def nothing(desk: Desk) -> None:
    """The reservation does not arrive."""


@pytest.mark.parametrize(
    ("before", "is_refused", "runs"), [(reserve, False, 1), (reserve, True, 0), (nothing, False, 0)]
)
def test_an_undo_handler_runs_once_if_its_do_took_effect_and_never_otherwise(
    before: Callable[[Desk], None], is_refused: bool, runs: int
) -> None:
    service, undone = Service(INVENTORY), list[str]()

    @service.handles
    def _(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed:
        if is_refused:
            return InventoryFailed(order_id=command.order_id, reason="none left")
        return InventoryReserved(order_id=command.order_id)

    @service.undoes
    def _(sql: Sql, command: ReleaseInventory) -> InventoryReleased:
        undone.append(command.order_id)
        return InventoryReleased(order_id=command.order_id)

    desk = Desk(service, ())
    before(desk)
    answers = [desk.hand(RELEASE, "reserve", "undo", attempt=attempt)[0].event_type for attempt in (1, 2)]
    desk.store.close()
    assert answers == ["inventory.released", "inventory.released"]
    assert undone == ["o-1"] * runs


# --------------------------------------------------------------------------- a refusal, and another release


class OutOfStock(Rejection, tag="inventory.out-of-stock"):
    """What the next release calls it."""

    order_id: str


class ReserveAnew(Command[InventoryReserved | OutOfStock], tag="inventory.reserve"):
    """The command as the next release knows it."""

    order_id: str


def a_release(*, is_next: bool, undone: list[str]) -> Service:
    service = Service(INVENTORY)

    def refuse(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed:
        return InventoryFailed(order_id=command.order_id, reason="none left")

    def refuse_anew(sql: Sql, command: ReserveAnew) -> InventoryReserved | OutOfStock:
        return OutOfStock(order_id=command.order_id)

    service.handles(refuse_anew if is_next else refuse)

    @service.undoes
    def _(sql: Sql, command: ReleaseInventory) -> InventoryReleased:
        undone.append(command.order_id)
        return InventoryReleased(order_id=command.order_id)

    return service


@pytest.mark.parametrize("is_old_row", [True, False])
def test_what_was_refused_is_not_undone_by_a_release_that_no_longer_knows_the_refusal(*, is_old_row: bool) -> None:
    undone: list[str] = []
    desk = Desk(a_release(is_next=False, undone=undone), ())
    assert desk.hand(RESERVE, "reserve")[0].event_type == "inventory.failed"
    if is_old_row:  # a release before this one did not write it down: then its name says it, as long as it is known
        with desk.store.transaction() as transaction:
            transaction.sql.execute("UPDATE barrier SET is_refusal = NULL")
    else:
        desk.service = a_release(is_next=True, undone=undone)
    (answer,) = desk.hand(RELEASE, "reserve", "undo")
    assert (answer.event_type, undone) == ("inventory.released", [])
    desk.store.close()


def test_what_the_engine_refused_is_not_undone_by_a_release_that_could_read_it() -> None:
    undone: list[str] = []
    desk = Desk(Service(INVENTORY), ())
    assert desk.hand(RESERVE, "reserve")[0].event_type == tag_of(Undeliverable)
    desk.service = a_release(is_next=False, undone=undone)
    desk.hand(RELEASE, "reserve", "undo")
    assert undone == []
    desk.store.close()
