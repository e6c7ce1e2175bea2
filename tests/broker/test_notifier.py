"""Waiting for news with a limit, in virtual time: both ways of it, and what only the one with a timer can get wrong."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from sagas.broker.notifier import AsyncioNotifier, Notifier, notifier
from sagas.testing.simulation.loop import Deadlock, SimulatedLoop

Kind = Callable[[], Notifier]

both_ways = pytest.mark.parametrize("kind", [Notifier, AsyncioNotifier])


def run(main: Callable[[], Awaitable[None]], seed: int = 1) -> None:
    """Run `main` in virtual time that begins at 0."""
    anyio.run(main, backend_options={"loop_factory": lambda: SimulatedLoop(seed)})


def never() -> bool:
    """Nothing has come."""
    return False


def always() -> bool:
    """Something has come."""
    return True


class Waits:
    """Waits side by side, and when each of them ended."""

    def __init__(self, news: Notifier) -> None:
        self.news = news
        self.is_there = False
        self.ended: dict[str, float] = {}

    async def wait(self, name: str, at_most_s: float) -> None:
        """One of them."""
        await self.news.wait_for(lambda: self.is_there, at_most_s)
        self.ended[name] = anyio.current_time()

    async def tell_at(self, time_s: float, *, is_there: bool = True) -> None:
        """Notify at `time_s`."""
        await anyio.sleep_until(time_s)
        self.is_there = is_there
        self.news.notify()


@both_ways
@pytest.mark.parametrize("at_most_s", [-1.0, 0.0, 7.0])
def test_a_wait_for_nothing_ends_when_its_time_is_up_and_gives_the_loop_a_turn(kind: Kind, at_most_s: float) -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await kind().wait_for(always, at_most_s)
            assert anyio.current_time() == max(0, at_most_s)

    run(main)
    assert turns == ["other"]


@both_ways
def test_only_a_notification_that_brings_something_ends_a_wait(kind: Kind) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "a", 100)
            await waits.tell_at(10, is_there=False)
            await waits.tell_at(20)
        assert waits.ended == {"a": 20}

    run(main)


@both_ways
def test_the_limit_of_one_wait_is_not_that_of_the_next(kind: Kind) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "told", 100)
            await waits.tell_at(50)
        waits.is_there = False
        await waits.wait("longer than what is left of it", 100)
        await waits.wait("again", 100)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "told too", 100)
            await waits.tell_at(260)
        waits.is_there = False
        await waits.wait("shorter", 10)
        assert list(waits.ended.values()) == [50, 150, 250, 260, 270]

    run(main)


@both_ways
def test_each_of_several_has_its_own_limit(kind: Kind) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            for at_most_s in (30, 10, 20, 40):
                tasks.start_soon(waits.wait, f"{at_most_s}", at_most_s)
            await waits.tell_at(35)
        assert waits.ended == {"10": 10, "20": 20, "30": 30, "40": 35}

    run(main)


@both_ways
def test_one_that_is_cancelled_leaves_the_others_waiting(kind: Kind) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "other", 100)
            with anyio.move_on_after(10) as scope:
                await waits.wait("cancelled", 50)
            assert scope.cancelled_caught
            await waits.tell_at(60)
        assert waits.ended == {"other": 60}

    run(main)


@both_ways
@pytest.mark.parametrize("seed", range(30))
def test_what_is_told_in_the_moment_another_s_limit_is_reached_is_heard(kind: Kind, seed: int) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "short", 10)
            tasks.start_soon(waits.wait, "long", 1000)
            tasks.start_soon(waits.tell_at, 10)
        assert waits.ended == {"short": 10, "long": 10}

    run(main, seed)


@both_ways
def test_the_next_loop_can_wait_with_it_too(kind: Kind) -> None:
    waits = Waits(kind())

    async def told() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "in the first", 100)
            await waits.tell_at(5)

    async def untold() -> None:
        waits.is_there = False
        await waits.wait("in the second", 200)

    run(told)
    run(untold)
    assert waits.ended == {"in the first": 5, "in the second": 200}


@both_ways
@pytest.mark.parametrize("shorter_s", [0, 5])
def test_one_that_is_closed_keeps_no_timer(kind: Kind, shorter_s: int) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "a", 100)
            await waits.tell_at(10)
        if shorter_s:
            await waits.news.wait_for(never, shorter_s)
        waits.news.close()
        await anyio.Event().wait()

    with pytest.raises(Deadlock, match=rf"at {10 + shorter_s}\.000 s"):
        run(main)


@both_ways
def test_one_that_is_closed_while_somebody_waits_ends_that_wait_in_time(kind: Kind) -> None:
    async def main() -> None:
        waits = Waits(kind())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits.wait, "a", 100)
            await anyio.sleep(10)
            waits.news.close()
        assert waits.ended == {"a": 100}

    run(main)


def test_the_timer_is_used_where_there_is_one() -> None:
    async def main() -> None:
        assert type(notifier()) is AsyncioNotifier

    run(main)
    assert type(notifier()) is Notifier
