"""When a service's undo handler runs at all: only if there may be something to undo."""

from collections.abc import Callable

import pytest

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
