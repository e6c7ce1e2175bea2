"""What a run came to, step by step: its entries folded into one line for each thing that was asked. Pure."""

from collections.abc import Iterable

import msgspec

from services.readmodel.tables import Asked, EntryRow, Operation, Outcome


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was asked of a service, and its answer: `outcome` is "" while there is none. Times in Unix ms."""

    step: str
    operation: Operation
    outcome: Outcome = ""
    why: str = ""
    asked_ms: int
    answered_ms: int = 0


_asked = msgspec.json.Decoder(tuple[Asked, ...])


def steps_of(entries: Iterable[EntryRow]) -> tuple[StepView, ...]:
    """The steps in the order they were asked."""
    steps: dict[tuple[str, Operation], StepView] = {}
    for entry in entries:
        _answer(steps, entry)
        for asked in _asked.decode(entry.asked):
            at = (asked.step, asked.operation)
            if asked.operation == "undo":
                _leave(steps, asked.step)
            # Asked again, after a fault or in vain, it is still the same thing.
            steps.setdefault(at, StepView(step=asked.step, operation=asked.operation, asked_ms=entry.at_ms))
    return tuple(steps.values())


def _answer(steps: dict[tuple[str, Operation], StepView], entry: EntryRow) -> None:
    known = steps.get((entry.step, entry.operation))
    if known is None or not entry.outcome:
        return
    # What came too late does not change how it looked when it was turned back.
    if known.outcome in ("ok", "refused") or (known.outcome == "unknown" and entry.outcome == "late"):
        return
    steps[entry.step, entry.operation] = msgspec.structs.replace(
        known, outcome=entry.outcome, why=entry.why, answered_ms=entry.at_ms
    )


def _leave(steps: dict[tuple[str, Operation], StepView], step: str) -> None:
    """A step that is undone without an answer is one whose outcome nobody knows."""
    known = steps.get((step, "do"))
    if known is not None and not known.outcome:
        steps[step, "do"] = msgspec.structs.replace(known, outcome="unknown", why="no answer in time")
