"""Every message that a whole system has published: orders of all stories, the real saga and the real services."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from sagas.broker.memory import MemoryBroker
from sagas.broker.partitioning import partition_of
from sagas.ports import FeedRow, Incoming, InstanceFilter
from sagas.runtime.cleaning import DAY_MS
from sagas.runtime.event_store import message_of
from sagas.testing.world import World
from services.contracts import Item, OrderCreated
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.orders.handlers import orders
from services.orders.saga import order_saga
from services.orders.tables import MIGRATIONS as ORDERS_TABLES
from services.payments.handlers import payments
from services.payments.rules import DECLINED, SILENT
from services.payments.tables import MIGRATIONS as PAYMENTS_TABLES
from services.shipping.handlers import shipping
from services.shipping.rules import UNREACHABLE
from services.shipping.tables import MIGRATIONS as SHIPPING_TABLES

TOPICS = ("orders", "inventory", "payments", "shipping")
PARTITIONS = 3

Lane = tuple[str, int]
"""Topic and partition: what has an order."""


def an_order(
    order_id: str,
    *,
    product: str = "mug",
    total: str = "59.98",
    card: str = "card-ok",
    address: str = "1 Harbour Street",
) -> OrderCreated:
    """An order of two pieces."""
    return OrderCreated(order_id=order_id, items=(Item(product, 2),), total=total, card=card, address=address)


STORIES = (
    an_order("o-fine"),
    an_order("o-declined", card=DECLINED),
    an_order("o-silent", card=SILENT),
    an_order("o-unicorn", product="unicorn"),
    an_order("o-nowhere", address=UNREACHABLE),
    an_order("o-free", total="0.00"),
    an_order("o-fine-too", product="kettle", total="8.50"),
    an_order("o-again", address=UNREACHABLE),
    # Somebody else claims an id that is taken: the saga goes on with the first one.
    an_order("o-fine", total="1.00", address="2 Other Street"),
)


BEGIN_MS = 1_700_000_000_000
BEGIN_AGAIN_MS = BEGIN_MS + 400 * DAY_MS
"""By then the first runs were purged and forgotten."""

AGAIN = (an_order("o-again", product="kettle", address="2 Other Street"),)
"""Orders under ids that were taken by runs that were purged since."""


async def messages() -> dict[Lane, list[Incoming]]:
    """What stands in each partition of each topic once all stories have ended, the event store among them."""
    lanes: dict[Lane, list[Incoming]] = defaultdict(list)
    for stories, start_ms in ((STORIES, BEGIN_MS), (AGAIN, BEGIN_AGAIN_MS)):
        for lane, found in (await _of(stories, start_ms)).items():
            behind = len(lanes[lane])
            lanes[lane] += [replace(incoming, offset=incoming.offset + behind) for incoming in found]
    return dict(lanes)


async def _of(stories: Sequence[OrderCreated], start_ms: int) -> dict[Lane, list[Incoming]]:
    services = {
        orders: ORDERS_TABLES,
        inventory: migrations({"mug": 100, "kettle": 100, "unicorn": 0}),
        payments: PAYMENTS_TABLES,
        shipping: SHIPPING_TABLES,
    }
    lanes: dict[Lane, list[Incoming]] = defaultdict(list)
    async with World([order_saga.definition], services, partitions=PARTITIONS, start_ms=start_ms) as world:
        for story in stories:
            await world.publish_start("order", story)
        await world.settle()
        reader = MemoryBroker(world.broker)
        subscription = await reader.subscribe("test", TOPICS)
        for incoming in await subscription.poll(10_000):
            lanes[incoming.topic, incoming.partition].append(incoming)
        await reader.close()
        for told in journal_of(world):
            lanes[told.topic, told.partition].append(told)
    return dict(lanes)


def journal_of(world: World) -> list[Incoming]:
    """The event store of a world: the journals of all its instances."""
    found: list[Incoming] = []
    ends: dict[int, int] = defaultdict(int)
    for instance in reversed(world.store.instances(InstanceFilter(count_max=1_000))):
        for entry in world.store.journal(instance.id):
            row = FeedRow(seq=0, saga=instance.saga, version=instance.version, key=instance.key, entry=entry)
            message = message_of(row)
            partition = partition_of(message.key, PARTITIONS)
            found.append(
                Incoming(
                    id=message.id,
                    topic=message.topic,
                    partition=partition,
                    offset=ends[partition],
                    timestamp_ms=entry.at_ms,
                    payload=message.payload,
                    headers=dict(message.headers),
                )
            )
            ends[partition] += 1
    return found
