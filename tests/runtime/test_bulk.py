"""Many stuck instances are tried again at a pace."""

import pytest

from sagas.core.instance import STUCK
from sagas.runtime.bulk import PER_SECOND_MAX, retry_paced, stuck_instances
from sagas.runtime.orchestrator import Orchestrator
from sagas.testing import VirtualClock
from tests.races.parts import ORDER
from tests.runtime.stuck import a_shop_with_stuck_orders

pytestmark = pytest.mark.anyio


async def test_only_the_stuck_are_found_and_of_them_those_asked_for() -> None:
    async with a_shop_with_stuck_orders(3) as shop:
        assert len(list(stuck_instances(shop.store))) == 3
        assert len(list(stuck_instances(shop.store, saga="order", step="ship"))) == 3
        assert list(stuck_instances(shop.store, step="pay")) == []
        assert list(stuck_instances(shop.store, saga="trip")) == []


async def test_a_pace_that_is_none_is_refused() -> None:
    async with a_shop_with_stuck_orders(1) as shop:
        for pace in (0, PER_SECOND_MAX + 1):
            retrying = retry_paced(
                Orchestrator([ORDER], shop.store), iter([]), who="ann", reason="", clock=shop.clock, per_second=pace
            )
            with pytest.raises(ValueError, match="retries a second"):
                await anext(retrying)


async def test_who_moved_on_meanwhile_is_passed_over_and_told() -> None:
    async with a_shop_with_stuck_orders(2) as shop:
        desk = Orchestrator([ORDER], shop.store)
        found = list(stuck_instances(shop.store))
        clock = VirtualClock(shop.clock.now_ms(), is_automatic=True)
        twice = retry_paced(desk, iter([*found, *found]), who="ann", reason="", clock=clock, per_second=1)
        outcomes = [one.outcome async for one in twice]
        assert [isinstance(outcome, str) for outcome in outcomes] == [False, False, True, True]
        assert [i for i in stuck_instances(shop.store) if i.state == STUCK] == []
