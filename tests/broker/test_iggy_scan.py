"""Reading a topic's last messages, and having a group forget how far it has read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import anyio
import pytest

from sagas.broker.iggy import IggyBroker
from sagas.errors import BrokerError
from sagas.ports import Incoming, Outgoing, Position, Subscription, TopicSpec
from sagas.runtime.worker import positions
from tests.broker.test_contract_iggy import embedded_server
from tests.broker.traffic import PATIENCE_S

pytestmark = pytest.mark.anyio

SPEC = TopicSpec(name="orders", partitions=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_server(tmp_path_factory.mktemp("embedded")) as running:
        yield running.connection_string


@pytest.fixture
async def broker(server: str, tmp_path: Path) -> IggyBroker:
    broker = IggyBroker.from_connection_string(server, stream=tmp_path.name)
    await broker.ensure([SPEC])
    return broker


def messages(count: int) -> list[Outgoing]:
    return [
        Outgoing(id=str(uuid5(NAMESPACE_DNS, str(n))), topic="orders", key=f"k-{n}", payload=b"%d" % n)
        for n in range(count)
    ]


async def newest_of(broker: IggyBroker, count: int, topic: str = "orders") -> list[Incoming]:
    """The last messages of a topic."""
    return [message async for part in broker.newest(topic, count) for message in part]


async def all_read(subscription: Subscription, count: int) -> list[Position]:
    """Where `count` messages have been read to."""
    found: list[Incoming] = []
    with anyio.fail_after(PATIENCE_S):
        while len(found) < count:
            found += await subscription.poll(100)
    return sorted(positions(found), key=lambda position: position.partition)


async def test_the_newest_of_each_partition_come_in_their_order(broker: IggyBroker) -> None:
    assert await newest_of(broker, 5) == []
    await broker.publish(messages(300))
    found = await newest_of(broker, 5)
    assert Counter(message.partition for message in found) == {0: 5, 1: 5, 2: 5}
    for partition in range(3):
        numbers = [int(message.payload) for message in found if message.partition == partition]
        assert numbers == sorted(numbers)
    assert 299 in {int(message.payload) for message in found}
    assert len(await newest_of(broker, 1_000)) == 300
    await broker.close()


async def test_a_topic_that_is_not_there_has_no_newest(broker: IggyBroker) -> None:
    with pytest.raises(BrokerError, match="topic 'nowhere'"):
        await newest_of(broker, 5, "nowhere")
    await broker.close()


async def test_a_group_that_was_forgotten_reads_from_the_beginning(broker: IggyBroker) -> None:
    await broker.publish(messages(10))
    first = await broker.subscribe("workers", ["orders"])
    read = await all_read(first, 10)
    await first.commit(read)
    with pytest.raises(BrokerError, match="has 1 members: end the processes"):
        await broker.forget_group("workers", "orders")
    await first.close()
    await broker.forget_group("workers", "orders")
    again = await broker.subscribe("workers", ["orders"])
    assert await all_read(again, 10) == read
    await broker.close()


async def test_a_group_that_was_never_there_is_forgotten_already(broker: IggyBroker) -> None:
    await broker.forget_group("nobody", "orders")
    await broker.close()
