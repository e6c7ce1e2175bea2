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


class SetBack(VirtualClock):
    """A clock that is set back by an hour after so many looks; `slept_ms` is what was waited for in all."""

    def __init__(self, now_ms: int, looks: int) -> None:
        super().__init__(now_ms, is_automatic=True)
        self._looks = looks
        self.slept_ms = 0

    def now_ms(self) -> int:
        self._looks -= 1
        return super().now_ms() - (3_600_000 if self._looks < 0 else 0)

    async def sleep_ms(self, duration_ms: int) -> None:
        self.slept_ms += duration_ms
        await super().sleep_ms(duration_ms)


@pytest.mark.parametrize("looks", range(1, 6))
async def test_a_clock_that_is_set_back_keeps_the_pace(looks: int) -> None:
    async with a_shop_with_stuck_orders(3) as shop:
        desk, clock = Orchestrator([ORDER], shop.store), SetBack(shop.clock.now_ms(), looks)
        retrying = retry_paced(desk, stuck_instances(shop.store), who="ann", reason="", clock=clock, per_second=3)
        assert len([one async for one in retrying]) == 3
        assert clock.slept_ms <= 3 * 334
