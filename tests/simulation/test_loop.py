"""The deterministic loop, and the names of asyncio that it stands on."""

import asyncio
import time
from asyncio import base_events
from collections import deque

import anyio
import pytest

from sagas.testing.simulation.loop import Deadlock, SimulatedLoop, StepLimit


def run(seed: int) -> list[int]:
    """In which order ten tasks that are ready at once come."""
    order: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        order.append(number)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(10)))

    loop = SimulatedLoop(seed)
    loop.run_until_complete(main())
    loop.close()
    return order


def test_asyncio_still_has_the_names_that_the_loop_stands_on() -> None:
    loop = SimulatedLoop(0)
    assert isinstance(loop._ready, deque)  # type: ignore[attr-defined]  # pyright: ignore
    assert loop._scheduled == []  # type: ignore[attr-defined]  # pyright: ignore
    for name in ("_run_once", "_timer_handle_cancelled", "_process_events"):
        assert hasattr(base_events.BaseEventLoop, name)
    handle = loop.call_later(1, print)
    assert (handle._when, handle._cancelled, handle._scheduled) == (1.0, False, True)  # type: ignore[attr-defined]  # pyright: ignore
    loop.close()


def test_a_seed_repeats_its_order_and_another_seed_has_another_one() -> None:
    assert run(1) == run(1)
    assert len({tuple(run(seed)) for seed in range(20)}) > 10


def test_a_day_passes_at_once() -> None:
    began = time.monotonic()

    async def main() -> float:
        await anyio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert anyio.run(main, backend_options={"loop_factory": lambda: SimulatedLoop(0)}) == 86_400
    assert time.monotonic() - began < 5


def test_waiting_for_ever_is_a_deadlock_that_names_who_waits() -> None:
    async def lonely() -> None:
        await asyncio.Event().wait()

    loop = SimulatedLoop(0)
    with pytest.raises(Deadlock, match="lonely"):
        loop.run_until_complete(lonely())
    loop.close()


def test_going_round_in_circles_is_stopped() -> None:
    async def restless() -> None:
        while True:  # noqa: ASYNC110 - it is to have no end
            await asyncio.sleep(0)

    loop = SimulatedLoop(0, steps_max=1_000)
    with pytest.raises(StepLimit):
        loop.run_until_complete(restless())
    loop.close()


def test_threads_are_refused() -> None:
    loop = SimulatedLoop(0)
    with pytest.raises(RuntimeError, match="no threads"):
        loop.run_in_executor(None, print)
    loop.close()
