"""Where the database work runs: in a thread, and in the loop once it has shown to be quick."""

import threading

import anyio
import pytest

from sagas.runtime.offload import Brief, Thread

pytestmark = pytest.mark.anyio

LONG_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_first_work_runs_beside_the_loop_and_the_next_in_it() -> None:
    brief = Brief(Thread(), quick_s=LONG_S)
    here = threading.get_ident()
    assert await brief(threading.get_ident) != here
    assert [await brief(threading.get_ident) for _ in range(3)] == [here] * 3


async def test_work_that_was_slow_runs_beside_the_loop_the_next_time() -> None:
    brief = Brief(Thread(), quick_s=0)
    assert threading.get_ident() not in [await brief(threading.get_ident) for _ in range(3)]


async def test_work_that_is_under_way_in_the_thread_is_not_overlapped() -> None:
    thread = Thread()
    brief = Brief(thread, quick_s=LONG_S)
    await brief(int)
    is_begun, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def long_work() -> None:
        is_begun.set()
        may_end.wait(LONG_S)
        order.append("long")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(thread, long_work)
        await anyio.to_thread.run_sync(is_begun.wait)
        tasks.start_soon(brief, order.append, "brief")
        await anyio.wait_all_tasks_blocked()
        may_end.set()
    assert order == ["long", "brief"]


async def test_what_the_work_raises_comes_out_either_way() -> None:
    brief = Brief(Thread(), quick_s=LONG_S)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            await brief(int, "x")
