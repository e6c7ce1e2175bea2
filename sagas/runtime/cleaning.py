"""What a process need not remember for ever goes in small steps, beside its work.

Theory of operation. A *chore* takes away what is older than some time, one short transaction at each step. The worker's
loop lets it take a step now and then (`STEP_EVERY_MS`) as long as there is more, so that a backlog of
whatever size never keeps a message waiting for longer than one step; then it rests (`REST_MS`).

How long things are kept follows from what can still come. A topic of ours keeps its messages for 7 days and a retry
keeps its id, so what was seen 30 days ago cannot be read again.

How old something is two clocks have to say: this process's, and the broker's, by what was read last. What is taken away
does not come back when a clock that was wrong once is right again; so nothing goes before something was read, and
while nothing is read nothing grows old.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from sagas.ports import ParticipantStore

DAY_MS = 24 * 3600 * 1000
PROCESSED_KEPT_MS = 30 * DAY_MS
"""How long processed messages are remembered: no shorter than one can stay in its topic (7 days by default)."""

STEP_MAX = 500
"""Rows that a step takes away at most."""

RUNS_PER_STEP_MAX = 200
"""Runs that a step looks at; with the rows of their journals it takes as long."""

STEP_EVERY_MS = 100
REST_MS = 60_000
"""Between the end of one round of a chore and the next."""


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept, in ms; 0: for ever, but for `processed_ms`, which has to have a length.

    `processed_ms`: the ids of messages that were dealt with. `journal_ms`: the journals of runs, from their end
    on. `runs_ms`: the runs themselves. `barrier_ms`: what a participant did, and its answers. Raises ValueError for
    `processed_ms` below 1: every id would be forgotten at once, and no message be known again. And for a `barrier_ms`
    below a day: by that a barrier that was cleaned by a wrong clock is known (`may_be_forgotten`).
    """

    processed_ms: int = PROCESSED_KEPT_MS
    journal_ms: int = 90 * DAY_MS
    runs_ms: int = 0
    barrier_ms: int = 30 * DAY_MS

    def __post_init__(self) -> None:
        if self.processed_ms < 1:
            raise ValueError(f"processed_ms={self.processed_ms}: expected milliseconds, PROCESSED_KEPT_MS as a rule")
        if 0 < self.barrier_ms < DAY_MS:
            raise ValueError(f"barrier_ms={self.barrier_ms}: expected 0 (for ever) or a day at least, {DAY_MS}")


class RunsCleaner(Protocol):
    """The steps on an orchestrator's database. Each returns how many rows it took, or whether there are more."""

    def forget_seen(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` messages that were seen before `before_ms`, oldest first; how many."""
        ...

    def clean_journals(self, before_ms: int, count_max: int) -> bool:
        """Clean the journals of runs that ended before `before_ms`; whether there are more runs to look at."""
        ...

    def purge_runs(self, before_ms: int, now_ms: int, count_max: int) -> bool:
        """Purge runs that ended before `before_ms`; whether there are more runs to look at."""
        ...

    def forget_tombstones(self, before_ms: int, count_max: int) -> int:
        """Remove at most `count_max` tombstones of runs purged before `before_ms`; how many."""
        ...


class Chore:
    """One kind of thing that is not kept for ever. `step` is given the time before which it goes, and the time."""

    def __init__(self, kept_ms: int, step: Callable[[int, int], bool]) -> None:
        self._kept_ms = kept_ms
        self._step = step
        self._next_ms: int | None = None

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time for a step. A clock that was set back puts off none."""
        return self._next_ms is None or now_ms >= self._next_ms or now_ms < self._next_ms - REST_MS

    def step(self, now_ms: int, read_ms: int) -> None:
        """Take one."""
        has_more = self._step(min(now_ms, read_ms) - self._kept_ms, now_ms)
        self._next_ms = now_ms + (STEP_EVERY_MS if has_more else REST_MS)


class Cleaning:
    """All chores of a process."""

    def __init__(self, chores: Sequence[Chore] = ()) -> None:
        self._chores = chores

    def is_due(self, now_ms: int) -> bool:
        """Whether one of them is to take a step. Cheap."""
        return any(chore.is_due(now_ms) for chore in self._chores)

    def step(self, now_ms: int, read_ms: int | None = None) -> None:
        """Take one step of each that is due. `read_ms`: when the broker got what was read last."""
        for chore in self._chores:
            if chore.is_due(now_ms):
                chore.step(now_ms, now_ms if read_ms is None else read_ms)


def runs_cleaning(cleaner: RunsCleaner, keeping: Keeping) -> Cleaning:
    """An orchestrator's chores."""
    chores = [
        Chore(keeping.processed_ms, lambda before_ms, _: cleaner.forget_seen(before_ms, STEP_MAX) >= STEP_MAX),
        # As long as an id is known, a key is known, too: both end what comes again.
        Chore(keeping.processed_ms, lambda before_ms, _: cleaner.forget_tombstones(before_ms, STEP_MAX) >= STEP_MAX),
    ]
    if keeping.journal_ms:
        chores.append(
            Chore(keeping.journal_ms, lambda before_ms, _: cleaner.clean_journals(before_ms, RUNS_PER_STEP_MAX))
        )
    if keeping.runs_ms:
        chores.append(
            Chore(keeping.runs_ms, lambda before_ms, now_ms: cleaner.purge_runs(before_ms, now_ms, RUNS_PER_STEP_MAX))
        )
    return Cleaning(chores)


def service_cleaning(store: ParticipantStore, keeping: Keeping) -> Cleaning:
    """A participant's chores."""
    chores = [_processed(store, keeping.processed_ms)]
    if keeping.barrier_ms:
        chores.append(Chore(keeping.barrier_ms, lambda before_ms, _: store.forget_operations(before_ms, STEP_MAX)))
    return Cleaning(chores)


def processed_cleaning(store: ParticipantStore, kept_ms: int) -> Cleaning:
    """The chore of whoever only remembers processed events."""
    return Cleaning([_processed(store, kept_ms)])


def _processed(store: ParticipantStore, kept_ms: int) -> Chore:
    return Chore(kept_ms, lambda before_ms, _: store.forget_processed(before_ms, STEP_MAX) >= STEP_MAX)
