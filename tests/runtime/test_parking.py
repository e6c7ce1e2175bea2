"""What comes before anybody here can take it is kept for whoever can, and taken before time is called."""

from collections.abc import Iterator
from typing import Any

import pytest

from sagas.core.definition import Definition
from sagas.runtime.deciding import ELSEWHERE_MS
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.rows import PARKED_MS_MAX, command_row
from sagas.store.sqlite import SqliteStore
from tests.runtime.packing import (
    ASKED,
    BANK,
    DESK,
    GIVEN,
    HOUR_MS,
    NOW_MS,
    PAID,
    GiftAsked,
    OrderAsked,
    Paid,
    a_saga,
    an_event,
    packed,
    run_of,
)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    yield made
    made.close()


BOTH = [a_saga("gift", GiftAsked), a_saga("order", OrderAsked)]


@pytest.mark.parametrize("definitions", [BOTH, BOTH[::-1]], ids=["gift first", "order first"])
def test_a_signal_that_two_sagas_wait_for_reaches_the_run_that_is_there(
    store: SqliteStore, definitions: list[Definition]
) -> None:
    node = Orchestrator(definitions, store)
    for event in (an_event(DESK, ASKED), an_event(BANK, PAID)):
        node.process([event], NOW_MS)
    assert run_of(store).state == "pack.pending"
    node.fire(NOW_MS + PARKED_MS_MAX, NOW_MS + PARKED_MS_MAX)
    assert store.dead_letters(9) == [], "there is no gift, and nobody has lost anything by it"


@pytest.mark.parametrize("definitions", [BOTH, BOTH[::-1]], ids=["gift first", "order first"])
def test_a_signal_that_comes_between_two_starts_reaches_both_runs(
    store: SqliteStore, definitions: list[Definition]
) -> None:
    node = Orchestrator(definitions, store)
    for event in (an_event(DESK, ASKED), an_event(BANK, PAID), an_event(DESK, GIVEN)):
        node.process([event], NOW_MS)
    assert {run_of(store, saga).state for saga in ("order", "gift")} == {"pack.pending"}
    assert len(store.journal(run_of(store).id)) == 2, "the first has it once"


def test_a_signal_that_nobody_s_run_came_for_is_one_dead_letter(store: SqliteStore) -> None:
    node = Orchestrator(BOTH, store)
    node.process([an_event(BANK, PAID)], NOW_MS)
    node.fire(NOW_MS + PARKED_MS_MAX, NOW_MS + PARKED_MS_MAX)
    assert [letter.reason for letter in store.dead_letters(9)] == ["came early, and what it answers never followed"]
    assert len(store.unpublished(9)) == 1


def test_a_signal_is_a_dead_letter_where_one_saga_s_run_was_purged_and_another_s_never_came(store: SqliteStore) -> None:
    node = Orchestrator([a_saga("order", waits=False), *BOTH[:1]], store)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    node.process([packed(run_of(store))], NOW_MS)
    store.enter(NOW_MS)
    store.cleaner.purge_runs(NOW_MS + HOUR_MS, NOW_MS + 1, 9)
    assert store.instance("order", "o-1") is None
    node = Orchestrator(BOTH[::-1], store)
    node.process([an_event(BANK, PAID)], NOW_MS)
    node.fire(NOW_MS + PARKED_MS_MAX, NOW_MS + PARKED_MS_MAX)
    assert len(store.dead_letters(9)) == 1


def _fails_on_what_was_parked(original: Any) -> Any:
    def fails(definition: Any, instance: Any, send: Any, now_ms: int) -> Any:
        if send.step == "pack" and instance.key == "o-1":
            raise TypeError("a planted bug")
        return original(definition, instance, send, now_ms)

    return fails


def test_what_the_engine_fails_on_in_what_was_parked_holds_up_nobodys_timers(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    v1, v2 = a_saga(), a_saga(version=2)
    old, new = Orchestrator([v1], store), Orchestrator([v1, v2], store)
    new.process([an_event(DESK, ASKED), an_event(DESK, OrderAsked(order_id="o-2"))], NOW_MS)
    old.process([an_event(BANK, PAID)], NOW_MS + HOUR_MS - ELSEWHERE_MS)
    monkeypatch.setattr("sagas.runtime.deciding.command_row", _fails_on_what_was_parked(command_row))
    new.fire(NOW_MS + HOUR_MS, NOW_MS + HOUR_MS)
    other = store.instance("order", "o-2")
    assert other is not None
    assert other.state == "rejected", "its time is over"
    assert [letter.reason for letter in store.dead_letters(9)] == ["came early, and this engine failed on it"]


def test_a_signal_that_a_node_without_the_runs_version_reads_waits_for_one_that_has_it(store: SqliteStore) -> None:
    old, new = Orchestrator([a_saga()], store), Orchestrator([a_saga(), a_saga(version=2)], store)
    new.process([an_event(DESK, ASKED)], NOW_MS)
    old.process([an_event(BANK, PAID)], NOW_MS)
    due_ms = NOW_MS + ELSEWHERE_MS
    assert store.next_due_ms() == due_ms
    old.fire(due_ms, due_ms)
    new.fire(due_ms + ELSEWHERE_MS, due_ms + ELSEWHERE_MS)
    assert run_of(store).state == "pack.pending"


def test_an_answer_that_a_node_without_the_runs_version_reads_is_taken_in_seconds(store: SqliteStore) -> None:
    v1, v2 = a_saga(waits=False), a_saga(version=2, waits=False)
    old, new = Orchestrator([v1], store), Orchestrator([v1, v2], store)
    new.process([an_event(DESK, ASKED)], NOW_MS)
    old.process([packed(run_of(store))], NOW_MS)
    for looks in range(1, 200):
        old.fire(NOW_MS + looks * ELSEWHERE_MS, NOW_MS + looks * ELSEWHERE_MS)
    assert store.dead_letters(9) == [], "as long as its run waits"
    new.fire(NOW_MS + 200 * ELSEWHERE_MS, NOW_MS + 200 * ELSEWHERE_MS)
    assert run_of(store).state == "completed"


@pytest.mark.parametrize(
    ("read_s", "fired_s"),
    [(28, 31), (0, 60), (0, 21 * 60)],
    ids=["just before", "in time", "after an outage"],
)
def test_nobody_times_out_a_step_whose_answer_lies_here(store: SqliteStore, read_s: int, fired_s: int) -> None:
    v2 = a_saga(version=2, waits=False, timeout=30)
    new = Orchestrator([v2], store)
    new.process([an_event(DESK, ASKED)], NOW_MS)
    for asked_again_ms in (NOW_MS + second * 1_000 for second in (11, 22) if second < read_s):
        new.fire(asked_again_ms, asked_again_ms)
    Orchestrator([a_saga(waits=False)], store).process([packed(run_of(store))], NOW_MS + read_s * 1_000)
    later_ms = NOW_MS + fired_s * 1_000
    new.fire(later_ms, later_ms)
    assert run_of(store).state == "completed"
    assert store.dead_letters(9) == []


def test_a_start_is_not_lost_to_what_was_parked_on_a_topic_that_is_not_read_any_more(store: SqliteStore) -> None:
    Orchestrator([a_saga()], store).process([an_event(BANK, PAID)], NOW_MS)
    node = Orchestrator([a_saga(version=2, waits=False)], store)
    node.process([an_event(DESK, ASKED)], NOW_MS)
    assert run_of(store).state == "pack.pending"
    assert [letter.reason for letter in store.dead_letters(9)] == [
        "it came early, and nothing here waits for it any more"
    ]


def test_a_start_that_raises_is_a_dead_letter_though_another_saga_takes_it_for_a_signal(store: SqliteStore) -> None:
    node = Orchestrator([a_saga("ledger", Paid, waits=False), a_saga()], store)
    node.process([an_event(BANK, Paid(order_id="refused"))], NOW_MS)
    assert [letter.reason for letter in store.dead_letters(9)] == [
        "start of saga 'ledger' raised ValueError: it does not begin"
    ]


def test_what_was_given_up_may_come_again(store: SqliteStore) -> None:
    node, signal = Orchestrator([a_saga()], store), an_event(BANK, PAID)
    node.process([signal], NOW_MS)
    later_ms = NOW_MS + PARKED_MS_MAX
    node.fire(later_ms, later_ms)
    assert len(store.dead_letters(9)) == 1
    node.process([an_event(DESK, ASKED), signal], later_ms)
    assert run_of(store).state == "pack.pending"


def test_an_orchestrator_with_another_database_is_told_whose_answers_it_reads(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    other = SqliteStore(":memory:")
    Orchestrator([a_saga("order", waits=False)], other).process([an_event(DESK, ASKED)], NOW_MS)
    run = run_of(other)
    node = Orchestrator([a_saga("order", waits=False)], store)
    node.process([packed(run)], NOW_MS)
    assert f"an answer to run {run.id} lies here, which is not in this database" in caplog.text
    node.fire(NOW_MS + PARKED_MS_MAX, NOW_MS + PARKED_MS_MAX)
    (letter,) = store.dead_letters(9)
    assert "an orchestrator with another database reads this stream (give each a stream of its own)" in letter.reason
    other.close()
