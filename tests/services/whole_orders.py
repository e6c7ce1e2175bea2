"""Whole orders through the real saga and the real services, on files, with nothing else running."""

from collections.abc import Mapping
from pathlib import Path

from sagas.core.messages import Event, Fault, InProgress, tag_of
from sagas.testing import Scenario, Sent
from services.contracts import Item, OrderCreated
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.orders.handlers import orders
from services.orders.saga import OrderData, order_saga
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.payments.handlers import payments
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from services.proof import ServiceFiles
from services.shipping.handlers import shipping
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES
from tests.services.desk import Desk, reply_in

STOCK = {"123": 100, "kettle": 400, "unicorn": 0}


def an_order(order_id: str, *, product: str = "123", card: str = "card-ok", address: str = "here") -> OrderCreated:
    """An order of two pieces for 59.98."""
    items = (Item(product, 2),)
    return OrderCreated(order_id=order_id, items=items, total="59.98", card=card, address=address)


class Shop:
    """The four services on files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.files = ServiceFiles.within(folder)
        self.desks: Mapping[str, Desk] = {
            desk.service.participant.commands: desk
            for desk in (
                Desk(orders, ORDERS_TABLES, self.files.orders),
                Desk(inventory, migrations(STOCK), self.files.inventory),
                Desk(payments, PAYMENTS_TABLES, self.files.payments),
                Desk(shipping, SHIPPING_TABLES, self.files.shipping),
            )
        }

    def close(self) -> None:
        """Close the files."""
        for desk in self.desks.values():
            desk.store.close()

    def carry_out(self, order: OrderCreated) -> str:
        """Run one order to its end; the state it comes to."""
        story = Scenario(order_saga).start_event(order)
        seen = 0
        while not story.instance.is_ended:
            fresh, seen = story.journal[seen:], len(story.journal)
            if not fresh:
                story.after(seconds=1)
            for sent in (sent for entry in fresh for sent in entry.sent):
                self._deal_with(story, sent)
        return story.state

    def _deal_with(self, story: Scenario[OrderData], sent: Sent) -> None:
        desk = self.desks[sent.topic]
        for answer in desk.hand(sent.command, sent.step, sent.operation, attempt=sent.attempt):
            reply_type = _reply_types(sent)[answer.event_type]
            story.late(sent.step, reply_in(answer, reply_type), operation=sent.operation)


def _reply_types(sent: Sent) -> dict[str, type[Event]]:
    spec = order_saga.definition.steps[sent.step]
    replies = spec.replies if sent.operation == "do" or spec.undo is None else spec.undo.replies
    return {**replies, tag_of(InProgress): InProgress, tag_of(Fault): Fault}
