"""What the orchestrator's loop knows of the store: when something is due next, and how much is under way.

Theory of operation. It is asked of the store when timers were looked at, once a second at least. In between it is
carried on from batch to batch: what a batch has set comes due, what it has begun is in flight and what it has ended
is not. Nothing is taken back of what was due: a timer that was cleared makes the loop look too early, once, and then
ask the store. So two queries a batch are spared, and no timer is looked at later than it would have been.
"""

from collections.abc import Mapping

import msgspec

from sagas.core.instance import Instance
from sagas.ports import Changes


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch changes of a pulse: when the first of what it set is due, how many more runs are in flight."""

    next_due_ms: int | None
    in_flight: int

    def and_then(self, later: "Drift") -> "Drift":
        """What both change, one after the other."""
        return Drift(
            next_due_ms=_first(self.next_due_ms, later.next_due_ms), in_flight=self.in_flight + later.in_flight
        )


NO_DRIFT = Drift(next_due_ms=None, in_flight=0)


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """When a timer or a parked message is due next, None for never; how many runs are in flight."""

    next_due_ms: int | None
    in_flight: int

    def after(self, drift: Drift) -> "Pulse":
        """The pulse after a batch."""
        # Another orchestrator on the database may have begun what was ended here.
        in_flight = max(0, self.in_flight + drift.in_flight)
        return Pulse(next_due_ms=_first(self.next_due_ms, drift.next_due_ms), in_flight=in_flight)


def drift_of(changes: Changes, read: Mapping[str, Instance]) -> Drift:
    """What `changes` change, `read` being the instances as they were."""
    next_due_ms: int | None = None
    in_flight = 0
    # Loops and no generators: most batches have one row of each kind or none.
    for timer in changes.timers_set:
        next_due_ms = _first(next_due_ms, timer.due_ms)
    for parked in changes.parked:
        next_due_ms = _first(next_due_ms, parked.expires_ms)
    for after, _ in changes.updated:
        in_flight += after.is_live - read[after.id].is_live
    for created in changes.created:
        in_flight += created.is_live
    return Drift(next_due_ms=next_due_ms, in_flight=in_flight)


def _first(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
