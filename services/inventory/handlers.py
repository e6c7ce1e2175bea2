"""The inventory service: it sets items aside, and puts them back when the saga turns back."""

from sagas.ports import Sql
from sagas.runtime.participant import Service
from services.contracts import (
    INVENTORY,
    InventoryFailed,
    InventoryReleased,
    InventoryReserved,
    ReleaseInventory,
    ReserveInventory,
)
from services.inventory import tables
from services.inventory.rules import Refusal, reserve

inventory = Service(INVENTORY)


@inventory.handles
def reserve_inventory(sql: Sql, command: ReserveInventory) -> InventoryReserved | InventoryFailed:
    """Set all items aside, or none."""
    lines = reserve(command.items, tables.shelf(sql, [item.product_id for item in command.items]))
    if isinstance(lines, Refusal):
        return InventoryFailed(order_id=command.order_id, reason=lines.reason)
    tables.take(sql, command.order_id, lines)
    return InventoryReserved(order_id=command.order_id)


@inventory.undoes
def release_inventory(sql: Sql, command: ReleaseInventory) -> InventoryReleased:
    """Put the items back."""
    tables.put_back(sql, command.order_id)
    return InventoryReleased(order_id=command.order_id)
