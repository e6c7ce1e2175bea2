"""Timers are held back after an outage, a clock jump and a burst of timeouts, and never for good."""

from sagas.ports import CaughtUp, Reading
from sagas.runtime.guard import BURST_HOLD_MS, BURST_MIN, GAP_HOLD_MS, GAP_MS, TimeoutGuard
from sagas.runtime.orchestrator import TIMERS_PER_BATCH_MAX, Orchestrator
from sagas.runtime.roles import OrchestratorWork
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga
from tests.runtime.test_pulse import NOW_MS, a_start


def test_in_ordinary_times_timers_fire() -> None:
    guard = TimeoutGuard()
    assert all(guard.may_fire(NOW_MS + turn * 1_000, NOW_MS) for turn in range(100))


def test_after_a_downtime_what_is_long_overdue_waits_for_the_participants() -> None:
    guard = TimeoutGuard()
    assert not guard.may_fire(NOW_MS, NOW_MS - 3_600_000)
    assert not guard.may_fire(NOW_MS + GAP_HOLD_MS - 1, NOW_MS - 3_600_000)
    assert guard.may_fire(NOW_MS + GAP_HOLD_MS, NOW_MS - 3_600_000)


def test_a_start_with_nothing_overdue_holds_nothing_back() -> None:
    assert TimeoutGuard().may_fire(NOW_MS, None)
    assert TimeoutGuard().may_fire(NOW_MS, NOW_MS + 5_000)
    assert TimeoutGuard().may_fire(NOW_MS, NOW_MS - 100)


def test_a_clock_that_jumps_forward_or_a_machine_that_was_paused_holds_timers_back() -> None:
    guard = TimeoutGuard()
    assert guard.may_fire(NOW_MS, None)
    assert not guard.may_fire(NOW_MS + GAP_MS + 1, NOW_MS)
    assert guard.may_fire(NOW_MS + GAP_MS + 1 + GAP_HOLD_MS, NOW_MS)


def test_a_clock_that_is_set_back_does_not_hold_timers_back_for_the_difference() -> None:
    guard = TimeoutGuard()
    assert guard.may_fire(NOW_MS, None)
    assert not guard.may_fire(NOW_MS + 3_600_000, None)
    assert not guard.may_fire(NOW_MS, None)
    assert guard.may_fire(NOW_MS + GAP_HOLD_MS, None)


def test_a_clock_that_is_set_back_a_little_while_timers_are_held_back_does_not_let_them_go() -> None:
    # A machine goes on after an hour, and its clock is corrected a moment later: all is overdue by an hour still.
    guard = TimeoutGuard()
    assert guard.may_fire(NOW_MS, NOW_MS)
    late_ms = NOW_MS + 3_600_000
    assert not guard.may_fire(late_ms, NOW_MS)
    late_ms -= GAP_MS + 1
    assert not guard.may_fire(late_ms, NOW_MS)
    assert not guard.may_fire(late_ms + GAP_HOLD_MS - 1, NOW_MS)
    assert guard.may_fire(late_ms + GAP_HOLD_MS, NOW_MS)


def test_timeouts_from_before_a_clock_was_set_back_do_not_make_a_burst_of_those_of_an_hour() -> None:
    guard, now_ms = TimeoutGuard(), NOW_MS
    assert guard.may_fire(now_ms, None)
    guard.note_timeouts(1, 50, now_ms)
    now_ms -= 3_600_000
    for _ in range(2 * BURST_MIN):
        assert guard.may_fire(now_ms, None)
        guard.note_timeouts(1, 50, now_ms)
        now_ms += GAP_MS // 2


def test_many_timeouts_at_once_are_a_pause_and_not_a_mass_undo() -> None:
    guard = TimeoutGuard()
    assert guard.may_fire(NOW_MS, None)
    guard.note_timeouts(BURST_MIN + 1, 150, NOW_MS)
    assert not guard.may_fire(NOW_MS + 1, None)
    for turn in range(1, BURST_HOLD_MS // 1_000):
        assert not guard.may_fire(NOW_MS + turn * 1_000, None)
    assert guard.may_fire(NOW_MS + BURST_HOLD_MS, None)


def test_a_burst_is_noticed_while_a_part_of_it_is_still_to_come() -> None:
    store, count = SqliteStore(":memory:"), 4 * TIMERS_PER_BATCH_MAX
    orchestrator = Orchestrator([order_saga.definition], store)
    work = OrchestratorWork(orchestrator)
    for first in range(0, count, 500):
        orchestrator.process([a_start(f"o-{n}") for n in range(first, first + 500)], NOW_MS)
    waiting = count
    for second in range(1, 60):
        now_ms = NOW_MS + second * 1_000
        reading = Reading(partitions=frozenset(), read=frozenset())
        work.after_poll(CaughtUp(ms=now_ms, reading=reading), now_ms)
        waiting = store.counts().get("create.pending", 0)
        if waiting < count:
            break
    assert TIMERS_PER_BATCH_MAX <= waiting < count, "they are held back, and not all are turned back first"
    store.close()


def test_as_many_timeouts_among_ten_times_as_many_runs_are_ordinary() -> None:
    guard = TimeoutGuard()
    guard.note_timeouts(BURST_MIN + 1, BURST_MIN * 10, NOW_MS)
    assert guard.may_fire(NOW_MS + 1, None)


def test_timeouts_of_more_than_a_minute_ago_do_not_count() -> None:
    guard = TimeoutGuard()
    guard.note_timeouts(BURST_MIN, 10, NOW_MS)
    guard.note_timeouts(BURST_MIN, 10, NOW_MS + 61_000)
    assert guard.may_fire(NOW_MS + 61_001, None)
