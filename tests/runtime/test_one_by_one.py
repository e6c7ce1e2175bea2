"""Where one timer or one parked message fails, or is damaged, the others are fired one by one, as they are by then."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from sagas import Event, Saga, unchanged
from sagas.core.definition import Definition
from sagas.core.effects import Fire, Signal
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.ports import TimerRow
from sagas.runtime.admission import admit
from sagas.runtime.deciding import ELSEWHERE_MS
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.rows import PARKED_MS_MAX
from sagas.store.database import Database
from sagas.store.sqlite import SqliteStore
from tests.runtime.packing import (
    BANK,
    BOX,
    DESK,
    HOUR_MS,
    NOW_MS,
    Order,
    OrderAsked,
    Pack,
    Paid,
    Unpacked,
    a_saga,
    an_answer,
    an_event,
    ordered,
    packed,
    packing,
)


class Bid(Event, tag="bid"):
    order_id: str
    sum: int


class Lot(msgspec.Struct, frozen=True):
    order_id: str
    sum: int = 0


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database(":memory:")
    yield made
    made.close()


@pytest.fixture
def store(database: Database) -> SqliteStore:
    return SqliteStore(database)


def an_order(key: str) -> OrderAsked:
    return OrderAsked(order_id=key)


def run_of(store: SqliteStore, key: str) -> Instance:
    found = store.instance("order", key)
    assert found is not None
    return found


def timers_of(store: SqliteStore, run: Instance) -> list[TimerRow]:
    with store.transaction() as transaction:
        return [timer for timer in transaction.due_timers(2 * NOW_MS, 99) if timer.instance_id == run.id]


def a_paying_saga(version: int = 1, payments: int = 3, step: str = "pack") -> Definition:
    """Waits for so many payments, and packs."""
    saga = ordered(version)

    def paid(order: Order, signal: Paid) -> Order:
        return order

    def pack(order: Order) -> Pack:
        return Pack(order_id=order.order_id)

    flow: Any = None
    for number in range(payments):
        paid.__name__ = f"payment_{number}"
        wait = saga.wait(on=BANK, timeout=HOUR_MS, absence="refusal")(paid)
        flow = wait if flow is None else flow >> wait
    pack.__name__ = step
    packing = saga.step(to=BOX, timeout=60, unknown="ask", leaves_nothing=True)(pack)
    packing.reply(unchanged)
    saga.flow(flow >> packing)
    return saga.definition


def fail_on(run: Instance, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a bug: deciding such an input of this run raises."""

    def failing(definition: Definition, instance: Instance | None, message: Any, now_ms: int) -> Any:
        if isinstance(message, kind) and instance is not None and instance.id == run.id:
            raise RuntimeError("a planted bug")
        return decide(definition, instance, message, now_ms)

    for module in ("batch", "deciding"):
        monkeypatch.setattr(f"sagas.runtime.{module}.decide", failing)


def test_a_timer_that_another_of_its_run_has_replaced_does_not_take_the_new_one_away(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = ordered(deadline=59)
    saga.flow(packing(saga))
    node = Orchestrator([saga.definition], store)
    node.process([an_event(DESK, an_order("o-1")), an_event(DESK, an_order("bad"))], NOW_MS)
    fail_on(run_of(store, "bad"), Fire, monkeypatch)
    for second in (20, 40, 61):  # the deadline, at 59, comes before the timeout, at 60, and sets a timer of that name
        node.fire(NOW_MS + second * 1_000, NOW_MS + second * 1_000)
    run = run_of(store, "o-1")
    assert run.state == "pack.undoing"
    assert [timer.fire.operation for timer in timers_of(store, run)] == ["undo"], (
        "its undo is asked for until it is done"
    )


def test_what_was_parked_is_taken_once_though_another_runs_message_fails(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Orchestrator([a_paying_saga()], store), Orchestrator([a_paying_saga(2)], store)
    new.process([an_event(DESK, an_order("o-1")), an_event(DESK, an_order("bad"))], NOW_MS)
    for key in ("o-1", "o-1", "bad"):
        old.process([an_event(BANK, Paid(order_id=key))], NOW_MS)
    fail_on(run_of(store, "bad"), Signal, monkeypatch)
    new.fire(NOW_MS + ELSEWHERE_MS, NOW_MS + ELSEWHERE_MS)
    assert run_of(store, "o-1").state == "payment_2.waiting", "two of its three payments were made"
    assert [letter.key for letter in store.dead_letters(9)] == ["bad"]


def spoil(database: Database, statement: str, *parameters: object) -> None:
    with database.transaction():
        assert database.change(statement, parameters) == 1


def damage_a_run(database: Database, store: SqliteStore) -> None:
    spoil(database, "UPDATE instances SET record = x'c1000000' WHERE key = 'o-1'")


def damage_a_parked_row(database: Database, store: SqliteStore) -> None:
    spoil(database, "UPDATE parked SET record = x'c1'")


def damage_a_timer(database: Database, store: SqliteStore) -> None:
    (timer,) = timers_of(store, run_of(store, "o-1"))
    spoil(database, "UPDATE timers SET fire = x'c1', due_ms = 1 WHERE due_ms = ?", timer.due_ms)


@pytest.mark.parametrize("damage", [damage_a_run, damage_a_parked_row, damage_a_timer])
def test_what_is_damaged_of_one_run_holds_up_nobody_elses_timers(
    database: Database, store: SqliteStore, damage: Callable[[Database, SqliteStore], None]
) -> None:
    old = Orchestrator([a_saga(waits=False, timeout=60)], store)
    new = Orchestrator([a_saga(version=2, waits=False, timeout=60)], store)
    new.process([an_event(DESK, an_order("o-1"))], NOW_MS)
    old.process([packed(run_of(store, "o-1"))], NOW_MS)
    new.process([an_event(DESK, an_order("o-2"))], NOW_MS + 1)
    damage(database, store)
    for second in (21, 41, 61, 82):
        new.fire(NOW_MS + second * 1_000, NOW_MS + second * 1_000)
    assert run_of(store, "o-2").state == "pack.undoing"
    # A damaged message and one for a damaged run are told; a run whose timer is damaged goes on with its answer.
    assert len(store.dead_letters(9)) == (damage is not damage_a_timer)


def test_a_damaged_parked_message_of_a_run_that_moves_is_passed_over(database: Database, store: SqliteStore) -> None:
    old = Orchestrator([a_saga(waits=False)], store)
    new = Orchestrator([a_saga(version=2, waits=False)], store)
    new.process([an_event(DESK, an_order("o-1"))], NOW_MS)
    old.process([packed(run_of(store, "o-1"))], NOW_MS)
    damage_a_parked_row(database, store)
    new.process([packed(run_of(store, "o-1"))], NOW_MS + 1)
    assert run_of(store, "o-1").state == "completed"


def test_an_answer_for_a_run_that_ended_under_a_version_nobody_has_is_a_dead_letter_in_the_end(
    store: SqliteStore,
) -> None:
    old = Orchestrator([a_saga(waits=False, timeout=60)], store)
    admit([a_saga(waits=False, timeout=60)], store, NOW_MS)
    old.process([an_event(DESK, an_order("o-1"))], NOW_MS)
    run = run_of(store, "o-1")
    for second in (21, 41, 61):
        old.fire(NOW_MS + second * 1_000, NOW_MS + second * 1_000)
    old.process([an_answer(run, Unpacked(order_id="o-1"), "undo")], NOW_MS + 62_000)
    assert run_of(store, "o-1").state == "compensated"
    new = Orchestrator([a_paying_saga(2, step="wrap")], store, store)
    new.process([packed(run)], NOW_MS + HOUR_MS)
    for looks in range(1, PARKED_MS_MAX // ELSEWHERE_MS + 1):
        assert store.dead_letters(9) == []
        new.fire(NOW_MS + HOUR_MS + looks * ELSEWHERE_MS, NOW_MS + HOUR_MS + looks * ELSEWHERE_MS)
    (letter,) = store.dead_letters(9)
    assert (
        letter.reason
        == "its run has ended, and no orchestrator has version 1 of saga 'order' loaded, to tell what it means"
    )
    assert store.next_due_ms() is None


# --------------------------------------------------------------------------- the first counts


def an_auction(version: int) -> Definition:
    """Keeps the first bid, and packs."""
    saga: Saga[Lot] = Saga("order", Lot, version=version, key="order_id")

    @saga.start(on=DESK)
    def begin(event: OrderAsked) -> Lot:
        return Lot(event.order_id)

    @saga.wait(on=BANK, timeout=HOUR_MS, absence="refusal")
    def bid(lot: Lot, signal: Bid) -> Lot:
        return Lot(lot.order_id, signal.sum)

    @saga.step(to=BOX, timeout=60, unknown="ask", leaves_nothing=True)
    def pack(lot: Lot) -> Pack:
        return Pack(order_id=lot.order_id)

    pack.reply(unchanged)
    saga.flow(bid >> pack)
    return saga.definition


def test_what_was_parked_first_is_taken_first_though_it_expires_later(store: SqliteStore) -> None:
    home, guest = Orchestrator([an_auction(2)], store), Orchestrator([an_auction(1)], store)
    home.process([an_event(DESK, an_order("o-1"))], NOW_MS)
    guest.process([an_event(BANK, Bid(order_id="o-1", sum=1))], NOW_MS)
    guest.process([an_event(BANK, Bid(order_id="o-1", sum=2))], NOW_MS + 3_000)
    guest.fire(NOW_MS + ELSEWHERE_MS, NOW_MS + ELSEWHERE_MS)  # it looks at the first once more, and leaves it
    home.fire(NOW_MS + 3_000 + ELSEWHERE_MS, NOW_MS + 3_000 + ELSEWHERE_MS)
    assert b'"sum":1' in run_of(store, "o-1").data


def test_what_was_parked_is_taken_before_what_comes_after_it(store: SqliteStore) -> None:
    home, guest = Orchestrator([an_auction(2)], store), Orchestrator([an_auction(1)], store)
    home.process([an_event(DESK, an_order("o-1"))], NOW_MS)
    guest.process([an_event(BANK, Bid(order_id="o-1", sum=1))], NOW_MS)
    # The guest has ended, and its partition is home's.
    home.process([an_event(BANK, Bid(order_id="o-1", sum=2))], NOW_MS + 1)
    assert b'"sum":1' in run_of(store, "o-1").data


@pytest.mark.parametrize("reading", ["due_timers", "parked_expired"])
def test_what_the_engine_fails_to_read_ends_no_orchestrator(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reading: str
) -> None:
    node = Orchestrator([a_saga(waits=False, timeout=60)], store)
    node.process([an_event(DESK, an_order("o-1"))], NOW_MS)

    def failing(*_: object) -> Any:
        raise RuntimeError("a planted bug")

    with monkeypatch.context() as planted:
        planted.setattr(f"sagas.store.transaction.SqliteTransaction.{reading}", failing)
        node.fire(NOW_MS + 61_000, NOW_MS + 61_000)
    assert "a planted bug" in caplog.text
    assert "none could even be read" in caplog.text
    node.process([an_event(DESK, an_order("o-2"))], NOW_MS + 61_000)
    assert run_of(store, "o-2").state == "pack.pending"
