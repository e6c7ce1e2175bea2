"""What the shipping service is attacked with: `sagas conformance services.shipping`."""

from sagas.testing.conformance import Example, Subject
from services.contracts import Item, ShipOrder
from services.shipping.handlers import shipping
from services.shipping.rules import UNREACHABLE
from services.shipping.tables import MIGRATIONS

_ITEMS = (Item("kettle", 2),)

CONFORMANCE = Subject(
    shipping,
    MIGRATIONS,
    [
        Example(
            ShipOrder(order_id="o-1", items=_ITEMS, address="1 Harbour Street"),
            refused=ShipOrder(order_id="o-1", items=_ITEMS, address=UNREACHABLE),
        )
    ],
)
