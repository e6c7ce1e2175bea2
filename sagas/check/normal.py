"""What a decision does not depend on is taken out of an instance, so that there are finitely many.

Theory of operation. The kernel never compares two moments that it did not just add up itself: of a time in
the ledger it reads whether there is one (`undo_sent_ms`), and whether a step's patience is over, which the
search decides by giving `decide` a moment soon after and one long after. Of attempts it compares whether a
timer or a fault belongs to the latest. Of faults it counts up to the step's bound while the step is pending.
Texts are read by people. So:

    times          0 (not yet) or 1; those of answers 0
    revision       0; a person's word is about the instance as it stands
    attempts       0 or 1, and an attempt named by a timer is 1 (the latest) or 0 (an earlier one)
    faults         as counted while the step's effect is intended and its retries are bounded, else 0
    reply          of what is done; of a refusal only that it was one, unless the course looks it up (branches, ways)
    undo_reply     "": it is only held against a person's word, and whoever has resolved a step has seen to it that
                   nothing more is said of it (`QUIET`). A repeat of a late reply counts as read anew.
    timers         one that sends again may also have waited long enough: both is tried, whatever it was set for
    records        in the order of the course, not in that in which branches were sent
    delays         over at one moment between soon and late
    texts          ""

`tests/check/test_normal.py` holds each against the kernel: an instance and its normal form are decided alike.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sagas.core.course import Course, Fork, Leaf
from sagas.core.definition import Definition
from sagas.core.effects import Fire
from sagas.core.instance import Instance, Operation, StepRecord, leaf_of
from sagas.core.machine import UNDELIVERABLE

PAST_MS: Final = 1
"""What every time is that has come."""

SOON_MS: Final = 2
"""A moment at which no patience is over yet."""

LATE_MS: Final = 10**15
"""A moment at which every patience is over."""

_SAME = ("resend", "retry", "timeout")

_DUE: Final = str(10**12)
"""When every delay is over: after `SOON_MS` and before `LATE_MS`."""

_ANSWERED = ("answered_ms", "undo_answered_ms", "asked_ms")
_RECORD_TIMES = tuple(name for name in StepRecord.__struct_fields__ if name.endswith("_ms"))
_INSTANCE: dict[str, Any] = {"revision": 0, "updated_ms": 0, "cause": "", "reason": "", "incident": ""}
_OTHER_TIMES = tuple(n for n in Instance.__struct_fields__ if n.endswith("_ms") and n not in _INSTANCE)


class Sent(msgspec.Struct, frozen=True, order=True):
    """A command that is out, for ever: it may be delivered any number of times. `body` is what it asks, as JSON."""

    step: str
    operation: Operation
    id: str
    body: bytes


class Node(msgspec.Struct, frozen=True):
    """The orchestrator's side of a world: the instance, the timers that are set, and what was ever sent."""

    instance: Instance
    timers: tuple[tuple[str, Fire], ...]
    sent: tuple[Sent, ...]


def _has_fork(course: Course) -> bool:
    if isinstance(course, Fork):
        return True
    return not isinstance(course, Leaf) and any(_has_fork(part) for part in course.parts)


class Normaliser:
    """Brings instances of one definition into normal form."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        phases = {place.phase for places in definition.lanes.values() for place in places}
        # Only a way that is tried after another enters again what is undone, and asks how it was answered.
        self.has_ways = "reverting" in phases
        self._is_looked_up = self.has_ways or _has_fork(definition.course)
        self._has_branches = len(definition.lanes) > len(definition.places)

    def instance(self, instance: Instance, before: Instance | None = None) -> Instance:
        """The normal form of `instance`. What it shares with `before`, which is in normal form, is taken as it is."""
        known = {id(record) for record in before.steps} if before is not None else set[int]()
        steps = [record if id(record) in known else self._record(record) for record in instance.steps]
        if self._has_branches:
            names = self._definition.course.names
            steps.sort(key=lambda record: (names.index(leaf_of(record.name)), record.name))
        fixed: dict[str, Any] = {"steps": tuple(steps)} | _INSTANCE
        for name in _OTHER_TIMES:
            fixed[name] = min(getattr(instance, name), PAST_MS)
        if instance.marks:
            delays = self._definition.delays
            fixed["marks"] = tuple(sorted((name, _DUE if name in delays else word) for name, word in instance.marks))
        if instance.signals:
            fixed["signals"] = tuple(sorted(instance.signals))
        return msgspec.structs.replace(instance, **fixed)

    def _record(self, record: StepRecord) -> StepRecord:
        spec = self._definition.steps[leaf_of(record.name)]
        counts = spec.retry.attempts_max > 0 and record.effect == "intended"
        undo_counts = spec.undo is not None and spec.undo.retry.attempts_max > 0 and record.is_open
        return msgspec.structs.replace(
            record,
            attempts=min(record.attempts, 1),
            undo_attempts=min(record.undo_attempts, 1),
            faults=record.faults if counts else 0,
            undo_faults=record.undo_faults if undo_counts else 0,
            reply=self._reply(record),
            undo_reply="",
            **{name: 0 if name in _ANSWERED else min(getattr(record, name), PAST_MS) for name in _RECORD_TIMES},
        )

    def _reply(self, record: StepRecord) -> str:
        if record.effect == "done" or self._is_looked_up:
            return record.reply
        return UNDELIVERABLE if record.effect == "refused" else ""


def normal_timers(instance: Instance, timers: Mapping[str, Fire]) -> tuple[tuple[str, Fire], ...]:
    """The timers with their attempts in normal form; `instance` is not normalised yet."""
    return tuple((name, _fire(instance, timers[name])) for name in sorted(timers))


def _fire(instance: Instance, fire: Fire) -> Fire:
    record = instance.step(fire.step)
    if record is None:
        return fire
    latest = record.undo_attempts if fire.operation == "undo" else record.attempts
    kind = "resend" if fire.kind in _SAME else fire.kind
    return msgspec.structs.replace(fire, kind=kind, attempt=1 if fire.attempt == latest else 0)
