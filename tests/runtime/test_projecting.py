"""A projection's process, from its start to its end, on a broker in memory and on virtual time."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from prometheus_client import CollectorRegistry

from sagas.broker.memory import MemoryBroker
from sagas.config import Settings
from sagas.errors import StoreError
from sagas.metrics.instruments import Instruments
from sagas.metrics.measured import measured_participant_store
from sagas.ports import ParticipantStore, Sql
from sagas.projecting import project
from sagas.retention import keeping_of
from sagas.runtime.cleaning import DAY_MS, PROCESSED_KEPT_MS
from sagas.runtime.projection import Projection, ProjectionWork
from sagas.store.letter_file import LetterFile
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import inline
from tests.runtime.test_replay import Ledger, all_of, view

pytestmark = pytest.mark.anyio

WAIT_S_MAX = 20


@asynccontextmanager
async def at_work(
    ledger: Ledger,
    measure: Callable[[ParticipantStore], ParticipantStore] = lambda store: store,
    beside: Callable[[str], Coroutine[Any, Any, None]] | None = None,
) -> AsyncGenerator[None]:
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
            kept_ms=PROCESSED_KEPT_MS,
            measure=measure,
            beside=beside,
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


async def test_a_projection_that_cannot_begin_leaves_no_file_however_often_it_is_started(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for _ in range(3):
        ledger.clock.advance(1_000)
        with pytest.raises(StoreError, match="the migration 'own:001' failed"):
            await project(
                Projection("balances", [("001", _refuse)]),
                ledger.generations,
                broker=MemoryBroker(ledger.world),
                clock=ledger.clock,
                offload=inline,
                stop=anyio.Event(),
                on_ready=lambda: None,
                kept_ms=PROCESSED_KEPT_MS,
            )
    assert ledger.files() == []


def _refuse(sql: Sql) -> None:
    sql.execute("CREATE TABL balances")


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


async def test_a_projection_goes_on_while_its_pointer_cannot_be_read_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 500)
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 500})
        named = ledger.generations.pointer.read_text()
        ledger.generations.pointer.write_text("")
        while "expected a number" not in caplog.text:
            await checkpoint()
        await ledger.pay("a", 20)
        ledger.generations.pointer.write_text(named)
        await until_it_says(ledger, {"a": 520})

    assert caplog.text.count("expected a number") == 1


async def test_a_letter_that_is_sent_again_goes_out_though_a_replay_took_its_files_place(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 500)
    await ledger.pay("b", 13)
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 500})
        first = ledger.generations.current()
        assert first is not None
        with closing(LetterFile(ledger.generations.path(first), read_only=True)) as letters:
            while not letters.newest(1, with_settled=False):  # its handler is tried a few times first
                await checkpoint()
    with closing(LetterFile(ledger.generations.path(first), read_only=False)) as letters:
        letters.requeue([1], "ann", "mended", 2)
    await ledger.rebuild()
    async with at_work(ledger):
        await until_it_says(ledger, {"a": 500})
        while len(await all_of(ledger)) < 3:
            await checkpoint()

    assert not ledger.generations.path(first).exists()


async def test_what_each_generation_does_is_measured_and_its_own_group_is_followed(tmp_path: Path) -> None:
    ledger, instruments = Ledger(tmp_path), Instruments(CollectorRegistry())
    followed: list[str] = []

    async def follow(group: str) -> None:
        followed.append(group)
        await anyio.sleep_forever()

    await ledger.pay("a", 500)
    await ledger.pay("a", 13)
    async with at_work(ledger, lambda store: measured_participant_store(store, "", instruments), follow):
        await until_it_says(ledger, {"a": 500})
        first = ledger.generations.current()
        await ledger.rebuild()
        await ledger.pay("a", 20)
        await until_it_says(ledger, {"a": 520})
    second = ledger.generations.current()

    assert first is not None
    assert second is not None
    assert followed == [ledger.generations.group(first), ledger.generations.group(second)]
    assert instruments.registry.get_sample_value("sagas_dead_letters_total") == 1
    assert (instruments.registry.get_sample_value("sagas_commit_duration_seconds_count") or 0) >= 2


@pytest.mark.parametrize(("days", "balances"), [(400, [("a", 500)]), (30, [("a", 1_000)])])
async def test_an_event_is_known_for_as_long_as_the_setting_says(
    tmp_path: Path, days: int, balances: list[tuple[str, int]]
) -> None:
    ledger = Ledger(tmp_path)
    await ledger.pay("a", 500)
    batch = await all_of(ledger)
    settings = Settings.from_environ({"SAGAS_INBOX_DAYS": str(days), "SAGAS_BARRIER_DAYS": "0"})
    with closing(SqliteParticipantStore(":memory:", view.migrations)) as store:
        work = ProjectionWork(view, store, kept_ms=keeping_of(settings).processed_ms)
        work.process(batch, 0)
        work.after_poll(None, 31 * DAY_MS)
        work.process(batch, 31 * DAY_MS)
        with store.transaction() as transaction:
            assert transaction.sql.execute("SELECT account, cents FROM accounts").fetchall() == balances
