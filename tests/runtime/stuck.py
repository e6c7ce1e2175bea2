"""A shop in which a participant was away for so long that its orders are stuck over it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from sagas.core.instance import STUCK
from sagas.core.messages import Fault
from sagas.testing.world import World
from tests.races.parts import a_reply, publish
from tests.runtime.shop import a_shop, an_order, order


@asynccontextmanager
async def a_shop_with_stuck_orders(count: int) -> AsyncGenerator[World, None]:
    """`count` orders whose shipping failed until it was given up."""
    async with a_shop() as shop:
        await get_stuck(shop, [f"o-{number}" for number in range(count)])
        yield shop


async def get_stuck(shop: World, keys: Sequence[str]) -> None:
    """Place orders of these keys whose shipping fails until it is given up; shipping is away from then on."""
    await shop.nodes["shipping"].kill()
    for key in keys:
        await shop.publish_start("order", an_order(key))
    await shop.settle(within_s=1)
    for number in range(40):
        for key in keys:
            run = order(shop, key)
            await publish(shop, a_reply(run.id, key, "ship", Fault(reason="no lorry"), number))
        await shop.nodes["orchestrator"].turn()
        shop.clock.advance(120_000)
        await shop.nodes["orchestrator"].turn()
        if all(order(shop, key).state == STUCK for key in keys):
            return
    raise AssertionError(f"never stuck: {[order(shop, key).state for key in keys]}")
