"""In a rolling deployment a signal reaches the run that waits for it, whichever node reads it."""

from collections.abc import Iterator

import pytest

from sagas import Command, Event, unchanged
from sagas.core.definition import Definition
from sagas.runtime.admission import admit
from sagas.runtime.deciding import ELSEWHERE_MS
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.rows import PARKED_MS_MAX
from sagas.store.sqlite import SqliteStore
from tests.runtime.packing import (
    ASKED,
    BANK,
    DESK,
    HOUR_MS,
    NOW_MS,
    PAID,
    GiftAsked,
    Order,
    OrderAsked,
    Paid,
    a_saga,
    an_event,
    ordered,
    packed,
    packing,
    run_of,
)


class Billed(Event, tag="billed"):
    order_id: str


class Bill(Command[Billed], tag="bill"):
    order_id: str


def without_wait(version: int) -> Definition:
    """Sends a bill instead of waiting for a payment, so it reads the same topic."""
    saga = ordered(version)

    @saga.step(to=BANK, timeout=60, unknown="undo", leaves_nothing=True)
    def bill(order: Order) -> Bill:
        return Bill(order_id=order.order_id)

    bill.reply(unchanged)
    saga.flow(packing(saga) >> bill)
    return saga.definition


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    yield made
    made.close()


def a_node(store: SqliteStore, *definitions: Definition) -> Orchestrator:
    """As it begins in a rolling deployment."""
    admit(definitions, store, NOW_MS, may_strand=True)
    return Orchestrator(definitions, store, store)


VERSIONS = pytest.mark.parametrize(("waiting", "other"), [(1, 2), (2, 1)], ids=["newer node", "older node"])


@VERSIONS
@pytest.mark.parametrize("is_home_first", [True, False])
def test_a_signal_that_only_another_release_waits_for_is_left_to_its_node(
    store: SqliteStore, waiting: int, other: int, *, is_home_first: bool
) -> None:
    if is_home_first:
        home, guest = a_node(store, a_saga(version=waiting)), a_node(store, without_wait(other))
    else:
        guest, home = a_node(store, without_wait(other)), a_node(store, a_saga(version=waiting))
        guest.process([an_event(BANK, OrderAsked(order_id="o-9"))], NOW_MS)
    home.process([an_event(DESK, ASKED)], NOW_MS)
    guest.process([an_event(BANK, PAID)], NOW_MS)
    due_ms = NOW_MS + ELSEWHERE_MS
    assert store.next_due_ms() == due_ms
    guest.fire(due_ms, due_ms)
    home.fire(due_ms + ELSEWHERE_MS, due_ms + ELSEWHERE_MS)
    assert run_of(store).state == "pack.pending"
    assert store.dead_letters(9) == []


@VERSIONS
def test_what_is_nothing_to_any_run_leaves_no_trace(store: SqliteStore, waiting: int, other: int) -> None:
    a_node(store, a_saga(version=waiting))
    guest = a_node(store, without_wait(other))
    guest.process([an_event(BANK, PAID)], NOW_MS)
    guest.process([an_event(DESK, ASKED), an_event(BANK, PAID)], NOW_MS)
    assert run_of(store).version == other
    guest.fire(NOW_MS + PARKED_MS_MAX, NOW_MS + PARKED_MS_MAX)
    assert store.dead_letters(9) == []


def test_a_signal_for_a_run_that_has_ended_is_left_to_nobody(store: SqliteStore) -> None:
    home = a_node(store, a_saga(version=1))
    home.process([an_event(DESK, ASKED), an_event(BANK, PAID)], NOW_MS)
    home.process([packed(run_of(store))], NOW_MS)
    assert run_of(store).state == "completed"
    a_node(store, without_wait(2)).process([an_event(BANK, PAID)], NOW_MS)
    with store.transaction() as transaction:
        assert transaction.parked_expired(NOW_MS + HOUR_MS, 9) == []


def test_a_signal_for_two_sagas_is_taken_here_and_left_for_the_other(store: SqliteStore) -> None:
    home = a_node(store, a_saga(version=1))
    guest = a_node(store, without_wait(2), a_saga("gift", GiftAsked))
    home.process([an_event(DESK, ASKED)], NOW_MS)
    guest.process([an_event(DESK, GiftAsked(order_id="o-1")), an_event(BANK, PAID)], NOW_MS)
    assert run_of(store, "gift").state == "pack.pending"
    home.fire(NOW_MS + ELSEWHERE_MS, NOW_MS + ELSEWHERE_MS)
    assert run_of(store).state == "pack.pending"


def test_a_signal_that_begins_a_run_here_is_left_for_the_other_too(store: SqliteStore) -> None:
    home = a_node(store, a_saga(version=1))
    guest = a_node(store, without_wait(2), a_saga("ledger", Paid, waits=False))
    home.process([an_event(DESK, ASKED)], NOW_MS)
    guest.process([an_event(BANK, PAID)], NOW_MS)
    assert run_of(store, "ledger").state == "pack.pending"
    home.fire(NOW_MS + ELSEWHERE_MS, NOW_MS + ELSEWHERE_MS)
    assert run_of(store).state == "pack.pending"


def test_a_node_that_does_not_read_the_topic_buries_nothing_of_another_s_run(store: SqliteStore) -> None:
    home, guest = a_node(store, a_saga(version=1)), a_node(store, without_wait(2))
    stranger = a_node(store, a_saga(version=3, waits=False))
    home.process([an_event(DESK, ASKED)], NOW_MS)
    guest.process([an_event(BANK, PAID)], NOW_MS + HOUR_MS - 1)
    stranger.fire(NOW_MS + HOUR_MS, NOW_MS + HOUR_MS)
    assert store.dead_letters(9) == []
    home.fire(NOW_MS + HOUR_MS + 60_000, NOW_MS + HOUR_MS + 60_000)
    assert run_of(store).state == "pack.pending"
