"""What the orders service is attacked with: `sagas conformance services.orders`."""

from sagas.testing.conformance import Example, Subject
from services.contracts import CompensateOrder, CreateOrder, Item
from services.orders.handlers import orders
from services.orders.tables import MIGRATIONS

_ITEMS = (Item("kettle", 2),)

CONFORMANCE = Subject(
    orders,
    MIGRATIONS,
    [
        Example(
            CreateOrder(order_id="o-1", items=_ITEMS, total="59.98", card="card-ok", address="1 Harbour Street"),
            undo=CompensateOrder(order_id="o-1"),
            refused=CreateOrder(order_id="o-1", items=_ITEMS, total="0.00", card="card-ok", address="here"),
        )
    ],
)
