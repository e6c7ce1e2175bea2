"""What a new version of a saga does to runs of the old one, before it is deployed: step by step.

Theory of operation. For each step, wait and delay of the old version a run is imagined that stands there, with the
steps behind it that it must have done, and is held against the new version as a real one would be when it is loaded
(`carrying.py`). What becomes of the messages between the two is said by `crossing.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from sagas.core.carrying import Problem, problems
from sagas.core.code import changed_code
from sagas.core.compatibility import type_problems
from sagas.core.definition import Definition
from sagas.core.instance import Instance, StepRecord
from sagas.core.machine import NEW
from sagas.core.moves import Moves
from sagas.core.renaming import marks_of, renamed, renamed_leaves
from sagas.core.shape import SagaShape, StepShape, WaitShape, shape_of
from sagas.core.travelled import reachable

Verdict = Literal[
    "continues unchanged",
    "continues under the new code",
    "continues under a mapping",
    "finishes on the old version",
    "stranded",
]
"""What becomes of a run when the new version is deployed in place of the old one.

continues unchanged          under the new version, as it is
continues under the new code  under the new version, some of whose functions do something else now
continues under a mapping    under the new version, its steps under the names that `renames` gives
finishes on the old version  the old version is deployed beside the new one
stranded                     nobody would move it again; the orchestrator would not be started
"""

Change = Literal["unchanged", "changed", "renamed", "removed", "added"]

_BEGINS = ("pending", "waiting", "delaying")
"""The phases in which a run comes to a leaf."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """A step, wait, delay or decision: what was changed, and what becomes of a run there ("" for one that is new)."""

    step: str
    change: Change
    verdict: Verdict | Literal[""]
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


def step_reports(old: Definition, new: Definition | None, *, is_old_kept: bool) -> list[StepReport]:
    """A report on each step, wait and delay of either version, and on decisions whose predicate was changed.

    `new` is None when no version is deployed any more.
    """
    before = shape_of(old)
    if new is None:
        gone = f"saga {old.name!r} is not deployed any more"
        return [_gone(leaf, gone, is_old_kept=is_old_kept) for leaf in _leaves(before)]
    after = shape_of(new)
    found = [_report_on(before, after, new, leaf, is_old_kept=is_old_kept) for leaf in _leaves(before)]
    found += _decisions(before, after, new, is_old_kept=is_old_kept)
    taken = {new.renames.get(leaf, leaf) for leaf in _leaves(before)}
    fresh = [StepReport(step=leaf, change="added", verdict="") for leaf in _leaves(after) if leaf not in taken]
    return [*found, *fresh]


def _leaves(shape: SagaShape) -> list[str]:
    """Where runs can stand: its steps, then its waits, then its delays."""
    delays = {leaf for state in shape.states for leaf, phase in marks_of(state) if phase == "delaying"}
    return [*(step.name for step in shape.steps), *(wait.name for wait in shape.waits), *sorted(delays)]


def _decisions(before: SagaShape, after: SagaShape, new: Definition, *, is_old_kept: bool) -> Iterator[StepReport]:
    """Those whose predicate was changed: no run stands there."""
    verdict: Verdict = "finishes on the old version" if is_old_kept else "continues under the new code"
    for name in changed_code(renamed_code(before, new), after.code):
        if name in new.choices:
            yield StepReport(step=name, change="changed", verdict=verdict, reasons=("its function has other code",))


def renamed_code(before: SagaShape, new: Definition) -> dict[str, str]:
    """The code of the old version under the names of the new one."""
    return {renamed(new.renames, name, mark="."): code for name, code in before.code.items()}


def _gone(leaf: str, reason: str, *, is_old_kept: bool) -> StepReport:
    verdict: Verdict = "finishes on the old version" if is_old_kept else "stranded"
    return StepReport(step=leaf, change="removed", verdict=verdict, reasons=(reason,))


def _report_on(before: SagaShape, after: SagaShape, new: Definition, leaf: str, *, is_old_kept: bool) -> StepReport:
    runs = list(_runs_at(before, leaf))
    codes = [c for c in _codes(before, new) if c.partition(".")[0] == new.renames.get(leaf, leaf)]
    found = list(_problems_of(before, after, new, runs))
    change, said = _change(before, after, new, leaf)
    if change == "unchanged" and codes:
        change = "changed"
    said += [f"its {code.partition('.')[2] or 'function'} has other code" for code in codes]
    verdict: Verdict
    if is_old_kept:
        verdict = "finishes on the old version"
    elif before.version > after.version:
        verdict = "stranded"
        text = f"version {after.version} is older: runs of version {before.version} do not go back to it"
        found.append(Problem(text=text, remedy=f"raise it to version={before.version + 1}"))
    elif before.version == after.version and before.content != after.content:
        verdict = "stranded"
        found.append(Problem(text="the content was changed and the version was not", remedy=_raise(after)))
    elif found:
        verdict = "stranded"
    else:
        same: Verdict = "continues under the new code" if codes else "continues unchanged"
        is_mapped = any(renamed_leaves(run, new.renames) for run in runs)
        verdict = "continues under a mapping" if is_mapped else same
    texts = [problem.text for problem in found]
    return StepReport(
        step=leaf,
        change=change,
        verdict=verdict,
        reasons=tuple(dict.fromkeys((*texts, *said))),
        remedies=tuple(dict.fromkeys(problem.remedy for problem in found if problem.remedy)),
    )


def _raise(after: SagaShape) -> str:
    return f"raise it to version={after.version + 1}"


def _codes(before: SagaShape, new: Definition) -> list[str]:
    return changed_code(renamed_code(before, new), shape_of(new).code)


# --------------------------------------------------------------------------- what was changed


def _change(before: SagaShape, after: SagaShape, new: Definition, leaf: str) -> tuple[Change, list[str]]:
    """What was done to a leaf, and what is other about it, whether or not it stands in a run's way."""
    name = new.renames.get(leaf, leaf)
    pairs = (before.step(leaf), after.step(name)), (before.wait(leaf), after.wait(name))
    said: list[str] = []
    match next(((was, now) for was, now in pairs if was is not None), (None, None)):
        case (StepShape() as was, StepShape() as now):
            said, is_same = _step_changes(was, now), was == now
        case (WaitShape() as was, WaitShape() as now):
            said, is_same = _wait_changes(was, now), was == now
        case (None, None) if name in new.delays:
            is_same = True
        case _:
            return "removed", []
    if leaf != name:
        return "renamed", [f"is called {name!r} now", *said]
    return "unchanged" if is_same else "changed", said


def _step_changes(old: StepShape, new: StepShape) -> list[str]:
    """What is other about a step, whether or not it stands in a run's way."""
    pairs = (("kind", old.kind, new.kind), ("participant", old.participant, new.participant))
    found = [
        f"{what}: {was} → {now}" for what, was, now in (*pairs, ("unknown", old.unknown, new.unknown)) if was != now
    ]
    if old.command != new.command:
        found.append(f"command {new.command.tag!r} has another shape")
    if (old.undo is None) != (new.undo is None):
        found.append("has no undo any more" if new.undo is None else "has an undo now")
    if old.replies != new.replies or old.undo_replies != new.undo_replies:
        found.append("answers have another shape")
    return found


def _wait_changes(old: WaitShape, new: WaitShape) -> list[str]:
    """What is other about a wait, whether or not it stands in a run's way."""
    pairs = (("topic", old.topic, new.topic), ("absence", old.absence, new.absence))
    found = [f"{what}: {was} → {now}" for what, was, now in pairs if was != now]
    return [*found, *(["signals have another shape"] if old.signals != new.signals else [])]


# --------------------------------------------------------------------------- who stands there


def _runs_at(before: SagaShape, leaf: str) -> Iterator[Instance]:
    """Runs that stand at `leaf` and nowhere else, for each thing they can do there and each way they may have come."""
    for records in _come_by(before, leaf):
        if before.step(leaf) is not None:
            records.append(StepRecord(name=leaf, effect="unknown"))
        for state in before.states:
            if [name for name, _ in marks_of(state)] == [leaf]:
                yield Instance(
                    id="", saga=before.saga, version=before.version, key="", state=state, data=b"", steps=tuple(records)
                )


def _come_by(before: SagaShape, leaf: str) -> list[list[StepRecord]]:
    """What runs at `leaf` must have done: those that nobody refused anything, and those that came by any way."""
    plain = _behind(before, leaf, before.forward)
    some = _behind(before, leaf, before.moves) or []
    found = [] if plain is None else [[StepRecord(name=s.name, effect="done", reply=_yes(s)) for s in plain]]
    return [*found, [StepRecord(name=step.name, effect="done") for step in some]]


def _yes(step: StepShape) -> str:
    return next((reply.name for reply in step.replies if not reply.is_rejection), "")


def _problems_of(before: SagaShape, after: SagaShape, new: Definition, runs: Sequence[Instance]) -> Iterator[Problem]:
    """What such runs lack under the new version."""
    for run in runs:
        yield from problems(before, after, new.renames, run)
    for text in type_problems(before.data, after.data, "its data"):
        yield Problem(text=f"{text.replace('its data.', 'its data: ')}", remedy="give the new field a default")


def _behind(shape: SagaShape, leaf: str, moves: Moves) -> list[StepShape] | None:
    """The steps that every run has done which came to `leaf` by these moves, None when none does."""
    begun = {state for state in shape.states if any(m[0] == leaf and m[1] in _BEGINS for m in marks_of(state))}
    there = begun & reachable(moves, NEW, set())
    if not there:
        return None
    others = (step for step in shape.steps if step.name != leaf)
    return [step for step in others if not reachable(moves, NEW, {step.name}) & there]
