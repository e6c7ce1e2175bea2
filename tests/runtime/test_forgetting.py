"""What a process need not remember for ever goes in small steps, beside its work."""

from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.roles import (
    FORGET_EVERY_MS,
    PROCESSED_FORGOTTEN_MAX,
    PROCESSED_KEPT_MS,
    PULSE_MS_MAX,
    OrchestratorWork,
)
from sagas.store.sqlite import SqliteStore
from services.orders.saga import order_saga

NOW_MS = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000


class Inbox:
    """An inbox with so many old messages, that notes each step."""

    def __init__(self, old: int) -> None:
        self.old = old
        self.steps: list[tuple[int, int]] = []

    def forget_seen(self, before_ms: int, count_max: int) -> int:
        """Take a step."""
        gone = min(self.old, count_max)
        self.old -= gone
        self.steps.append((before_ms, gone))
        return gone


def test_an_inbox_is_emptied_a_step_a_turn_until_nothing_old_is_left_and_then_looked_at_each_minute() -> None:
    store = SqliteStore(":memory:")
    inbox = Inbox(2 * PROCESSED_FORGOTTEN_MAX + 7)
    work = OrchestratorWork(Orchestrator([order_saga.definition], store), None, inbox)
    now_ms, turns = NOW_MS, 0
    while now_ms < NOW_MS + FORGET_EVERY_MS:
        if work.is_due(now_ms):
            work.after_poll(None, now_ms)
        now_ms, turns = now_ms + 100, turns + 1
    assert [gone for _, gone in inbox.steps] == [PROCESSED_FORGOTTEN_MAX, PROCESSED_FORGOTTEN_MAX, 7]
    assert inbox.steps[0][0] == NOW_MS - PROCESSED_KEPT_MS
    inbox.old = 3
    work.after_poll(None, now_ms + PULSE_MS_MAX)
    assert inbox.old == 0
    store.close()


def test_nothing_is_forgotten_as_long_as_its_topic_can_bring_it_again() -> None:
    assert PROCESSED_KEPT_MS > 7 * DAY_MS, "transient topics keep messages for seven days"
