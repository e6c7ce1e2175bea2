"""Time that a test moves by hand, and time that moves by itself."""

import anyio
import pytest

from sagas.ports import Clock
from sagas.testing import VirtualClock


async def note(clock: Clock, duration_ms: int, woken: list[tuple[int, int]]) -> None:
    """Sleep, then write down for how long and when it ended."""
    await clock.sleep_ms(duration_ms)
    woken.append((duration_ms, clock.now_ms()))


def test_sleepers_wake_in_the_order_of_their_times_when_time_is_moved() -> None:
    async def story() -> list[tuple[int, int]]:
        clock, woken = VirtualClock(1_000), list[tuple[int, int]]()
        async with anyio.create_task_group() as tasks:
            for duration_ms in (30, 10, 20):
                tasks.start_soon(note, clock, duration_ms, woken)
            await anyio.wait_all_tasks_blocked()
            assert clock.sleepers == 3
            clock.advance(20)
            await anyio.wait_all_tasks_blocked()
            assert clock.sleepers == 1
            clock.advance(10)
        return woken

    assert anyio.run(story) == [(10, 1_020), (20, 1_020), (30, 1_030)]


def test_automatic_time_lets_two_who_sleep_at_once_sleep_once() -> None:
    async def story() -> list[tuple[int, int]]:
        clock, woken = VirtualClock(0, is_automatic=True), list[tuple[int, int]]()
        async with anyio.create_task_group() as tasks:
            for duration_ms in (3_600_000, 1_000, 2_000):
                tasks.start_soon(note, clock, duration_ms, woken)
        return woken

    assert anyio.run(story) == [(1_000, 1_000), (2_000, 2_000), (3_600_000, 3_600_000)]


def test_a_sleeper_that_is_cancelled_is_forgotten() -> None:
    async def story() -> int:
        clock = VirtualClock()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(clock.sleep_ms, 10)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        return clock.sleepers

    assert anyio.run(story) == 0


def test_sleeping_for_no_time_lets_others_have_a_turn() -> None:
    async def story() -> list[str]:
        clock, turns = VirtualClock(), list[str]()

        async def other() -> None:
            turns.append("other")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await clock.sleep_ms(0)
            turns.append("sleeper")
        return turns

    assert anyio.run(story) == ["other", "sleeper"]


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="time does not run backwards: -1 ms"):
        VirtualClock().advance(-1)
