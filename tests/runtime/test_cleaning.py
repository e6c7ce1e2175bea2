"""What a process need not remember for ever goes in small steps, beside its work, and nothing else goes."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sagas.config import Settings
from sagas.core.effects import Action, Operate
from sagas.errors import SettingsError
from sagas.ports import Incoming, InstanceFilter, JournalRow
from sagas.records import TRANSIENT_S
from sagas.retention import keeping_of
from sagas.runtime.cleaning import (
    DAY_MS,
    PROCESSED_KEPT_MS,
    REST_MS,
    STEP_EVERY_MS,
    STEP_MAX,
    Keeping,
    runs_cleaning,
)
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.retelling import Cleaned, against_journal
from sagas.runtime.roles import PULSE_MS_MAX, OrchestratorWork
from sagas.store.cleaning import Cleaner
from sagas.store.database import Database
from sagas.store.members import LEASE_MS, Members
from sagas.store.processes import MachineProcesses
from sagas.store.sqlite import SqliteStore
from sagas.testing.world import World
from services.orders.saga import order_saga
from tests.runtime.shop import SERVICES, a_shop, an_order, order
from tests.runtime.stuck import get_stuck

NOW_MS = 1_700_000_000_000
DEFINITIONS = {("order", 1): order_saga.definition}
ALL = InstanceFilter(count_max=1_000)

pytestmark = pytest.mark.anyio


class Counting:
    """A database with so much that is old, which notes each step."""

    def __init__(self, old: int) -> None:
        self.old = old
        self.steps: list[tuple[int, int]] = []

    def forget_seen(self, before_ms: int, count_max: int) -> int:
        """Take a step."""
        gone = min(self.old, count_max)
        self.old -= gone
        self.steps.append((before_ms, gone))
        return gone

    def clean_journals(self, before_ms: int, count_max: int) -> bool:
        """There are none."""
        return False

    def purge_runs(self, before_ms: int, now_ms: int, count_max: int) -> bool:
        """Not asked for."""
        raise AssertionError

    def forget_tombstones(self, before_ms: int, count_max: int) -> int:
        """There are none."""
        return 0


def test_an_inbox_is_emptied_a_step_a_turn_until_nothing_old_is_left_and_then_looked_at_each_minute() -> None:
    store = SqliteStore(":memory:")
    counting = Counting(2 * STEP_MAX + 7)
    work = OrchestratorWork(Orchestrator([order_saga.definition], store), None, runs_cleaning(counting, Keeping()))
    work.process([a_message(NOW_MS)], NOW_MS)
    now_ms = NOW_MS
    while now_ms < NOW_MS + REST_MS:
        if work.is_due(now_ms):
            work.after_poll(None, now_ms)
        now_ms += STEP_EVERY_MS
    assert [gone for _, gone in counting.steps] == [STEP_MAX, STEP_MAX, 7]
    assert counting.steps[0][0] == NOW_MS - PROCESSED_KEPT_MS
    counting.old = 3
    work.after_poll(None, now_ms + PULSE_MS_MAX)
    assert counting.old == 0
    store.close()


def a_message(at_ms: int) -> Incoming:
    """Nothing that anybody could read, but it says when the broker got it."""
    return Incoming(id="m", topic="orders", partition=0, offset=0, timestamp_ms=at_ms, payload=b"?", headers={})


@pytest.mark.parametrize(("ahead_ms", "broker_ahead_ms"), [(100 * DAY_MS, 0), (0, 100 * DAY_MS), (5 * DAY_MS, DAY_MS)])
def test_what_is_old_is_said_by_the_slower_of_two_clocks_this_process_and_the_broker(
    ahead_ms: int, broker_ahead_ms: int
) -> None:
    store, counting = SqliteStore(":memory:"), Counting(0)
    work = OrchestratorWork(Orchestrator([order_saga.definition], store), None, runs_cleaning(counting, Keeping()))
    work.after_poll(None, NOW_MS + ahead_ms)
    assert counting.steps == [], "nothing was read yet"
    assert not work.is_due(NOW_MS + ahead_ms)
    work.process([a_message(NOW_MS + broker_ahead_ms)], NOW_MS + ahead_ms)
    work.after_poll(None, NOW_MS + ahead_ms)
    assert [before_ms + PROCESSED_KEPT_MS for before_ms, _ in counting.steps] == [
        NOW_MS + min(ahead_ms, broker_ahead_ms)
    ]
    store.close()


def test_a_clock_that_was_set_back_stops_no_chore() -> None:
    counting = Counting(STEP_MAX)
    cleaning = runs_cleaning(counting, Keeping())
    cleaning.step(NOW_MS)
    cleaning.step(NOW_MS - DAY_MS)
    assert len(counting.steps) == 2


def test_nothing_is_forgotten_as_long_as_its_topic_can_bring_it_again() -> None:
    keeping = Keeping()
    assert keeping.processed_ms > TRANSIENT_S * 1000
    assert keeping.barrier_ms >= keeping.processed_ms
    assert keeping.runs_ms == 0, "runs are kept unless it is asked for"
    assert keeping_of(Settings()) == keeping


def test_the_ids_of_messages_are_kept_for_some_time() -> None:
    with pytest.raises(ValueError, match="processed_ms=0"):
        Keeping(processed_ms=0)


def test_a_time_in_which_a_message_could_come_again_is_refused() -> None:
    with pytest.raises(SettingsError, match="SAGAS_RUNS_DAYS=7: a topic keeps messages for 7 days"):
        keeping_of(Settings(runs_days=7))
    with pytest.raises(SettingsError, match="SAGAS_BARRIER_DAYS=29: a command can come again for SAGAS_INBOX_DAYS=30"):
        keeping_of(Settings(barrier_days=29))
    assert keeping_of(Settings(runs_days=8, barrier_days=0)).barrier_ms == 0


# --------------------------------------------------------------------------- which journals


@asynccontextmanager
async def a_shop_with_a_past(*, with_event_store: bool = False) -> AsyncGenerator[World, None]:
    """An order of each end, one that is stuck and one that is under way."""
    async with a_shop(with_event_store=with_event_store) as shop:
        await shop.publish_start("order", an_order("good"))
        await shop.publish_start("order", an_order("declined", card="card-declined"))
        await shop.settle()
        await get_stuck(shop, ["stuck", "abandoned"])
        operate(shop, "abandoned", "abandon")
        await shop.publish_start("order", an_order("under-way"))
        await shop.work()
        states = {run.key: run.state for run in shop.store.instances(ALL)}
        assert states == {
            "good": "completed",
            "declined": "compensated",
            "stuck": "stuck",
            "abandoned": "abandoned",
            "under-way": "ship.pending",
        }
        yield shop


def operate(shop: World, key: str, action: Action) -> None:
    """Do what a person asks of a run, or what comes of it."""
    run = order(shop, key)
    message = Operate(action=action, who="ann", reason="by hand", revision=run.revision)
    Orchestrator([order_saga.definition], shop.store).operate(run.id, message, shop.clock.now_ms())


def journals(shop: World) -> dict[str, list[JournalRow]]:
    return {run.key: shop.store.journal(run.id) for run in shop.store.instances(ALL)}


def clean(shop: World, before_ms: int, step: int = 500) -> int:
    """Clean journals to the end of a round; how many steps it took."""
    steps = 1
    while shop.store.cleaner.clean_journals(before_ms, step):
        steps += 1
    return steps


def differences(shop: World) -> dict[str, object]:
    found = {run.key: against_journal(DEFINITIONS, shop.store, run) for run in shop.store.instances(ALL)}
    return {key: said for key, said in found.items() if said is not None}


async def test_the_journals_of_ended_runs_go_and_no_others() -> None:
    async with a_shop_with_a_past() as shop:
        before = journals(shop)
        clean(shop, shop.clock.now_ms() + 1)
        after = journals(shop)
        assert {key for key, rows in after.items() if not rows} == {"good", "declined", "abandoned"}
        assert (after["stuck"], after["under-way"]) == (before["stuck"], before["under-way"])


async def test_a_cleaned_instance_says_up_to_which_revision_and_is_no_difference() -> None:
    async with a_shop_with_a_past() as shop:
        assert differences(shop) == {}
        clean(shop, shop.clock.now_ms() + 1)
        good = order(shop, "good")
        assert shop.store.cleaned_until(good.id) == good.revision
        assert differences(shop)["good"] == Cleaned(good.revision)
        assert all(isinstance(found, Cleaned) for found in differences(shop).values())
        assert order(shop, "good") == good, "the run itself is kept"


async def test_a_row_that_is_missing_behind_what_was_cleaned_is_a_loss() -> None:
    async with a_shop_with_a_past() as shop:
        clean(shop, shop.clock.now_ms() + 1)
        database = shop.store._database  # pyright: ignore[reportPrivateUsage]
        with database.transaction():
            database.change("UPDATE instances SET cleaned = cleaned - 1 WHERE key = 'good'")
        assert "is missing in the journal, which was cleaned up to" in str(differences(shop)["good"])


async def test_a_run_goes_when_it_ended_long_enough_ago_and_not_when_it_began() -> None:
    async with a_shop() as shop:
        await shop.nodes["shipping"].kill()
        await shop.publish_start("order", an_order("slow"))
        await shop.work()
        shop.clock.advance(5_000)
        await shop.nodes["shipping"].start()
        await shop.settle()
        slow = order(shop, "slow")
        assert slow.updated_ms >= slow.started_ms + 5_000
        clean(shop, slow.updated_ms)
        assert shop.store.journal(slow.id)
        clean(shop, slow.updated_ms + 1)
        assert not shop.store.journal(slow.id)


async def test_a_step_looks_at_so_many_runs_and_the_next_goes_on_behind_them() -> None:
    async with a_shop() as shop:
        for number in range(7):
            await shop.publish_start("order", an_order(f"o-{number}"))
        await shop.settle()
        assert clean(shop, shop.clock.now_ms() + 1, step=3) == 3
        assert not any(journals(shop).values())


async def test_nothing_is_cleaned_that_others_are_still_to_be_told() -> None:
    async with a_shop_with_a_past(with_event_store=True) as shop:
        before = journals(shop)
        assert shop.store.waiting_to_be_fed() == 0
        unfed = Unfed(shop, "good")
        clean(shop, shop.clock.now_ms() + 1)
        assert journals(shop)["good"] == before["good"], "one of its rows is not told yet"
        assert journals(shop)["declined"] == []
        unfed.tell()
        clean(shop, shop.clock.now_ms() + 1)
        assert journals(shop)["good"] == []


class Unfed:
    """A row of an order's journal that the feed has still to tell."""

    def __init__(self, shop: World, key: str) -> None:
        self._shop = shop
        database = shop.store._database  # pyright: ignore[reportPrivateUsage]
        with database.transaction():
            database.change(
                "INSERT INTO feed (instance_id, revision) SELECT id, revision FROM instances WHERE key = ?", (key,)
            )
        assert shop.store.waiting_to_be_fed() == 1

    def tell(self) -> None:
        (row,) = self._shop.store.unfed(9)
        self._shop.store.mark_fed(row.seq)


async def test_while_very_much_is_to_be_told_nothing_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagas.store.cleaning.UNFED_MAX", 0)
    async with a_shop_with_a_past(with_event_store=True) as shop:
        Unfed(shop, "good")
        before = journals(shop)
        clean(shop, shop.clock.now_ms() + 1)
        assert journals(shop) == before


async def test_cleaning_goes_on_beside_the_work_by_itself_as_it_is_told() -> None:
    world = World([order_saga.definition], SERVICES, keeping=Keeping(journal_ms=2 * DAY_MS))
    async with world as shop:
        await shop.publish_start("order", an_order("old"))
        await shop.settle()
        shop.clock.advance(DAY_MS)
        await shop.publish_start("order", an_order("new"))
        await shop.settle()
        shop.clock.advance(DAY_MS + REST_MS)
        await shop.publish_start("order", an_order("newest"))
        await shop.settle()
        assert {key: bool(rows) for key, rows in journals(shop).items()} == {
            "old": False,
            "new": True,
            "newest": True,
        }


# --------------------------------------------------------------------------- crash points


class Dying(Database):
    """A database whose process dies at one of the cleaner's statements."""

    left: int | None = None

    def change_many(self, sql: str, rows: object) -> int:
        """Run a statement, or die."""
        if self.left is not None:
            if self.left == 0:
                raise Died
            self.left -= 1
        return super().change_many(sql, list(rows))  # type: ignore[call-overload]  # pyright: ignore


class Died(Exception):
    """The process died here."""


@pytest.mark.parametrize("what", ["journals", "runs"])
async def test_a_crash_at_any_statement_of_a_step_leaves_all_of_it_or_nothing(tmp_path: Path, what: str) -> None:
    path = tmp_path / "orchestrator.db"
    async with a_shop() as shop:
        for key in ("a", "b"):
            await shop.publish_start("order", an_order(key))
        await shop.settle()
        shop.store._database.connection.execute(f"VACUUM INTO '{path}'")  # pyright: ignore
        before_ms = shop.clock.now_ms() + 1
    whole, outcomes = _content(path), list[Sequence[object]]()
    for statement in range(6):
        database = Dying(path)
        cleaner = Cleaner(database, Members(database, LEASE_MS, MachineProcesses()))
        database.left = statement
        try:
            if what == "journals":
                cleaner.clean_journals(before_ms, 500)
            else:
                cleaner.purge_runs(before_ms, before_ms, 500)
        except Died:
            assert _content(path) == whole
        else:
            outcomes.append(_content(path))
            break
        finally:
            database.close()
    rows, cleaned, instances, tombstones = outcomes[0]
    assert (rows, tombstones) == (0, 0 if what == "journals" else 2)
    assert (cleaned, instances) == ((2, 2) if what == "journals" else (0, 0))


def _content(path: Path) -> Sequence[object]:
    database = Database(path)
    counted = [
        "SELECT count(*) FROM journal",
        "SELECT count(*) FROM instances WHERE cleaned > 0",
        "SELECT count(*) FROM instances",
        "SELECT count(*) FROM tombstones",
    ]
    found = [database.value(sql) for sql in counted]
    database.close()
    return found


# --------------------------------------------------------------------------- purging


def purge(shop: World, before_ms: int) -> set[str]:
    """Purge to the end of a round; whose runs went."""
    was = {run.key for run in shop.store.instances(ALL)}
    while shop.store.cleaner.purge_runs(before_ms, shop.clock.now_ms(), 2):
        pass
    return was - {run.key for run in shop.store.instances(ALL)}


async def test_runs_that_ended_are_purged_and_abandoned_stuck_and_live_ones_stay() -> None:
    async with a_shop_with_a_past() as shop:
        live = shop.store.in_flight()
        assert purge(shop, shop.clock.now_ms() + 1) == {"good", "declined"}
        assert shop.store.in_flight() == live == 1


async def test_a_key_can_be_used_again_once_nothing_that_is_on_its_way_can_mean_the_run_that_was_purged() -> None:
    async with World([order_saga.definition], SERVICES, keeping=Keeping(runs_ms=8 * DAY_MS)) as shop:
        await shop.publish_start("order", an_order("o-1"))
        await shop.settle()
        shop.clock.advance(9 * DAY_MS)
        await shop.publish_start("order", an_order("o-2"))
        await shop.work()
        assert shop.store.instance("order", "o-1") is None
        shop.clock.advance(PROCESSED_KEPT_MS - DAY_MS)
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        assert shop.store.instance("order", "o-1") is None
        shop.clock.advance(2 * DAY_MS)
        await shop.publish_start("order", an_order("o-3"))
        await shop.work()
        await shop.publish_start("order", an_order("o-1"))
        await shop.work()
        assert shop.store.instance("order", "o-1") is not None
