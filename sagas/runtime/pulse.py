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
    due = [*(row.due_ms for row in changes.timers_set), *(row.expires_ms for row in changes.parked)]
    went_on = sum(after.is_live - read[after.id].is_live for after, _ in changes.updated)
    return Drift(next_due_ms=min(due, default=None), in_flight=went_on + sum(i.is_live for i in changes.created))


def _first(*due_ms: int | None) -> int | None:
    return min((due for due in due_ms if due is not None), default=None)
