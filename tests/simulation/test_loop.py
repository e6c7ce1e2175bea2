"""The simulated loop: virtual time, a seeded order, no threads, and the private names it stands on."""

import asyncio
from asyncio import base_events

import pytest

from sagas.testing.simulation.loop import Deadlock, SimulatedLoop


def test_this_python_still_has_the_names_that_the_loop_overrides_and_reads() -> None:
    loop = SimulatedLoop(1)
    assert hasattr(base_events.BaseEventLoop, "_run_once")
    assert hasattr(loop, "_ready")
    assert hasattr(loop, "_scheduled")
    loop.close()


def test_an_hour_of_sleep_takes_no_time_at_all() -> None:
    loop = SimulatedLoop(1)
    loop.run_until_complete(asyncio.sleep(3_600))
    assert loop.time() == 3_600
    loop.close()


def test_a_seed_fixes_the_order_and_another_seed_gives_another() -> None:
    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def note(number: int) -> None:
            await asyncio.sleep(0)
            seen.append(number)

        async def all_of_them() -> None:
            await asyncio.gather(*(note(n) for n in range(20)))

        loop = SimulatedLoop(seed)
        loop.run_until_complete(all_of_them())
        loop.close()
        return seen

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) == 5


def test_waiting_for_what_never_comes_is_reported_and_not_waited_for() -> None:
    loop = SimulatedLoop(1)
    waiting = loop.create_task(asyncio.Event().wait())
    with pytest.raises(Deadlock, match="nothing is ready"):
        loop.run_until_complete(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()
