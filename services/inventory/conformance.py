"""What the inventory service is attacked with: `sagas conformance services.inventory`."""

from sagas.ports import Sql
from sagas.testing.conformance import Example, Subject
from services.contracts import Item, ReleaseInventory, ReserveInventory
from services.inventory.handlers import inventory
from services.inventory.tables import migrations


def _deliver_unicorns(sql: Sql) -> None:
    sql.execute("UPDATE products SET delivered = 5, on_shelf = 5 WHERE product_id = 'unicorn'")


CONFORMANCE = Subject(
    inventory,
    migrations({"kettle": 10, "mug": 3, "unicorn": 0}),
    [
        Example(
            ReserveInventory(order_id="o-1", items=(Item("kettle", 4), Item("mug", 1))),
            undo=ReleaseInventory(order_id="o-1"),
            refused=ReserveInventory(order_id="o-1", items=(Item("kettle", 4), Item("unicorn", 1))),
            mend=_deliver_unicorns,
        )
    ],
)
