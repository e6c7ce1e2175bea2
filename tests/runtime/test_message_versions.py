"""Old versions of starts and replies in the topics: read, or put among the dead letters by name."""

import pytest

from sagas.broker.memory import MemoryBroker
from sagas.core.envelope import Header
from sagas.core.ids import derived_id
from sagas.testing.world import World
from tests.runtime.shop import a_shop, foreign, order

HEAD = (
    b'{"id":"8a6e0804-2bd0-4672-b79d-d97027f9071a","order_id":"o-1","event_type":"order.created",'
    b'"timestamp":"2025-12-01T10:00:00.123456789Z","data":'
)
V1 = (
    HEAD
    + b'{"version":"1","order_id":"o-1","user_id":"u-1","items":[{"product_id":"123","quantity":2}],"total":59.98}}'
)
V3 = V1.replace(b'"version":"1"', b'"version":"3"')
NOT_CENTS = V1.replace(b"59.98", b"59.98000001")


async def publish(world: World, payload: bytes, headers: dict[str, str] | None = None) -> None:
    broker = MemoryBroker(world.broker)
    await broker.publish([foreign("orders", "o-1", payload, headers=headers)])
    await broker.close()


@pytest.mark.anyio
async def test_an_order_of_version_one_is_carried_out_to_the_cent() -> None:
    async with a_shop() as world:
        await publish(world, V1)
        await world.settle()

        assert order(world, "o-1").state == "completed"
        assert b'"total":"59.98"' in order(world, "o-1").data
        assert b'"currency":"USD"' in order(world, "o-1").data


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (V3, "order.created: ValueError: version '3' is unknown, known: 1, 2"),
        (NOT_CENTS, "order.created: ValueError: version 1: ValueError: 59.98000001 is no whole number of cents"),
    ],
)
async def test_an_order_that_cannot_be_read_exactly_is_a_dead_letter(payload: bytes, reason: str) -> None:
    async with a_shop() as world:
        await publish(world, payload)
        await world.settle()

        assert [letter.reason for letter in world.store.dead_letters(9)] == [reason]
        assert world.store.instance("order", "o-1") is None


@pytest.mark.anyio
async def test_a_reply_of_version_one_answers_its_step() -> None:
    async with a_shop() as world:
        await world.nodes["orders"].kill()
        await publish(world, V1)
        await world.work()
        instance = order(world, "o-1")
        assert instance.state == "create.pending"

        headers = {Header.INSTANCE: instance.id, Header.STEP: "create", Header.OPERATION: "do"}
        headers[Header.COMMAND] = derived_id(instance.id, "create", "do")
        broker = MemoryBroker(world.broker)
        await broker.publish([foreign("orders", "o-1", V1, 2, headers)])
        await broker.close()
        await world.work()

        assert order(world, "o-1").steps[0].reply == "OrderCreated"
        assert order(world, "o-1").state != "create.pending"
