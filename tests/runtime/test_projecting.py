"""A projection's process, from its start to its end, on a broker in memory and on virtual time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from sagas.broker.memory import MemoryBroker
from sagas.projecting import project
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from tests.runtime.test_replay import Ledger, view

pytestmark = pytest.mark.anyio

WAIT_S_MAX = 20


@asynccontextmanager
async def at_work(ledger: Ledger) -> AsyncGenerator[None]:
    """The process, until the block ends."""
    broker, stop = MemoryBroker(ledger.world), anyio.Event()

    async def run() -> None:
        clock = VirtualClock(ledger.clock.now_ms(), is_automatic=True)
        await project(
            view,
            ledger.generations,
            broker=broker,
            clock=clock,
            offload=inline,
            stop=stop,
            on_ready=lambda: None,
        )

    with anyio.fail_after(WAIT_S_MAX):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield
            stop.set()
    await broker.close()


async def until_it_says(ledger: Ledger, balances: dict[str, int]) -> None:
    """Wait until the current generation says so."""
    generations = ledger.generations
    # To look into a file that is not there would make it.
    while (
        (current := generations.current()) is None
        or not generations.path(current).exists()
        or ledger.balances() != balances
    ):
        await checkpoint()


async def test_a_projection_whose_file_is_gone_reads_everything_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 500)
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 500})
    first = ledger.generations.current()
    assert first is not None
    ledger.generations.remove(first)
    await ledger.pay("a", 20)
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 520})

    assert ledger.generations.current() != first
    assert "is gone" in caplog.text


async def test_a_projection_turns_to_the_generation_that_a_replay_made(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 500)
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 500})
        first = ledger.generations.current()
        await ledger.rebuild()
        await ledger.pay("a", 20)
        await until_it_says(ledger, {"a": 520})

    assert first is not None
    assert not ledger.generations.path(first).exists()
