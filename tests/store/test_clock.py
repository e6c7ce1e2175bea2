"""The clock of the real world."""

import time

import anyio

from sagas.clock import SystemClock
from sagas.ports import Clock


def test_the_time_is_unix_time_in_milliseconds() -> None:
    before = int(time.time() * 1_000)
    now_ms = SystemClock().now_ms()
    assert before <= now_ms <= time.time() * 1_000 + 1


def test_waiting_for_nothing_still_gives_others_a_turn() -> None:
    clock: Clock = SystemClock()
    order: list[str] = []

    async def other() -> None:
        order.append("other")

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await clock.sleep_ms(0)
            await clock.sleep_ms(-5)
            order.append("story")

    anyio.run(story)
    assert order == ["other", "story"]


def test_waiting_takes_as_long_as_it_was_told() -> None:
    clock = SystemClock()
    before = time.monotonic()
    anyio.run(clock.sleep_ms, 3)
    assert time.monotonic() - before >= 0.003
