"""What a new version of a saga does to runs of the old one, before it is deployed: step by step, message by message.

Theory of operation. For each step of the old version a run is imagined that stands there, with the steps behind it
that it must have done, and is held against the new version as a real one would be when it is loaded
(`carrying.py`). Messages are compared by shape: what the old release has put into the topics must be
read by the new one, and while both are deployed the other way round, too.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from sagas.core.carrying import Problem, marks_of, problems, reachable, renamed
from sagas.core.code import changed_code
from sagas.core.compatibility import is_upcast, message_problems, missing_replies, type_problems
from sagas.core.definition import Definition
from sagas.core.instance import Instance, StepRecord
from sagas.core.machine import NEW
from sagas.core.messages import tag_of
from sagas.core.shape import MessageShape, SagaShape, StepShape, shape_of

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

Reading = Literal["as it is", "by an upcaster", "not at all"]
"""How a message is read by the other side."""


_CLIENTS = "clients of the old release"
_NEW = "the new orchestrator"


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """A step: what was changed, and what becomes of a run that stands there ("" for a step that is new)."""

    step: str
    change: Change
    verdict: Verdict | Literal[""]
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


class MessageReport(msgspec.Struct, frozen=True, kw_only=True):
    """A message between the releases: who wrote it, who reads it, and how."""

    tag: str
    written_by: str
    read_by: str
    reading: Reading
    reasons: tuple[str, ...] = ()


def step_reports(old: Definition, new: Definition | None, *, is_old_kept: bool) -> list[StepReport]:
    """A report on each step of either version. `new` is None when no version is deployed any more."""
    before = shape_of(old)
    if new is None:
        gone = f"saga {old.name!r} is not deployed any more"
        return [_gone(step.name, gone, is_old_kept=is_old_kept) for step in before.steps]
    after = shape_of(new)
    found = [_step_report(before, after, new, step, is_old_kept=is_old_kept) for step in before.steps]
    found += _other_reports(before, after, new, is_old_kept=is_old_kept)
    taken = {new.renames.get(step.name, step.name) for step in before.steps}
    fresh = [StepReport(step=s.name, change="added", verdict="") for s in after.steps if s.name not in taken]
    return [*found, *fresh]


def _other_reports(before: SagaShape, after: SagaShape, new: Definition, *, is_old_kept: bool) -> Iterator[StepReport]:
    """The waits, delays and decisions whose function was changed."""
    verdict: Verdict = "finishes on the old version" if is_old_kept else "continues under the new code"
    for name in changed_code(_renamed_code(before, new), after.code):
        leaf, _, what = name.partition(".")
        if after.step(leaf) is None:
            reason = f"its {what} has other code" if what else "its function has other code"
            yield StepReport(step=leaf, change="changed", verdict=verdict, reasons=(reason,))


def _renamed_code(before: SagaShape, new: Definition) -> dict[str, str]:
    """The code of the old version under the names of the new one."""
    return {renamed(new.renames, name, mark="."): code for name, code in before.code.items()}


def _gone(step: str, reason: str, *, is_old_kept: bool) -> StepReport:
    verdict: Verdict = "finishes on the old version" if is_old_kept else "stranded"
    return StepReport(step=step, change="removed", verdict=verdict, reasons=(reason,))


def _step_report(
    before: SagaShape, after: SagaShape, new: Definition, step: StepShape, *, is_old_kept: bool
) -> StepReport:
    name = new.renames.get(step.name, step.name)
    there = after.step(name)
    codes = [c for c in changed_code(_renamed_code(before, new), after.code) if c.partition(".")[0] == name]
    change: Change = "removed" if there is None else _change(step, there)
    if change == "unchanged" and codes:
        change = "changed"
    found = list(_problems_at(before, after, new, step))
    said = _changes(step, there) if there is not None else []
    said += [f"its {code.partition('.')[2]} has other code" for code in codes]
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
        verdict = "continues under a mapping" if _is_mapped(before, new, step) else same
    texts = [problem.text for problem in found]
    return StepReport(
        step=step.name,
        change=change,
        verdict=verdict,
        reasons=tuple(dict.fromkeys((*texts, *said))),
        remedies=tuple(dict.fromkeys(problem.remedy for problem in found if problem.remedy)),
    )


def _raise(after: SagaShape) -> str:
    return f"raise it to version={after.version + 1}"


def _is_mapped(before: SagaShape, new: Definition, step: StepShape) -> bool:
    return any(name in new.renames for name in (*_behind(before, step.name), step.name))


def _change(old: StepShape, new: StepShape) -> Change:
    if old.name != new.name:
        return "renamed"
    return "unchanged" if old == new else "changed"


def _changes(old: StepShape, new: StepShape) -> list[str]:
    """What is other about a step, whether or not it stands in a run's way."""
    found = [f"is called {new.name!r} now"] if old.name != new.name else []
    pairs = (("kind", old.kind, new.kind), ("participant", old.participant, new.participant))
    found += [
        f"{what}: {was} → {now}" for what, was, now in (*pairs, ("unknown", old.unknown, new.unknown)) if was != now
    ]
    if old.command != new.command:
        found.append(f"command {new.command.tag!r} has another shape")
    if (old.undo is None) != (new.undo is None):
        found.append("has no undo any more" if new.undo is None else "has an undo now")
    if old.replies != new.replies or old.undo_replies != new.undo_replies:
        found.append("answers have another shape")
    return found


def _problems_at(before: SagaShape, after: SagaShape, new: Definition, step: StepShape) -> Iterator[Problem]:
    """What a run lacks that stands at `step`, whatever it is doing there."""
    behind = [StepRecord(name=name, effect="done") for name in _behind(before, step.name)]
    here = StepRecord(name=step.name, effect="unknown")
    for state in before.states:
        if [name for name, _ in marks_of(state)] == [step.name]:
            run = Instance(
                id="", saga=before.saga, version=before.version, key="", state=state, data=b"", steps=(*behind, here)
            )
            yield from problems(before, after, new.renames, run)
    for text in type_problems(before.data, after.data, "its data"):
        yield Problem(text=f"{text.replace('its data.', 'its data: ')}", remedy="give the new field a default")


def _behind(shape: SagaShape, step: str) -> list[str]:
    """The steps that every run which stands at `step` has done."""
    pending = [state for state in shape.states if (step, "pending") in marks_of(state)]
    reached = reachable(shape.forward, NEW, set())
    there = [state for state in pending if state in reached]
    return [
        other.name
        for other in shape.steps
        if other.name != step and there and not reachable(shape.forward, NEW, {other.name}) & set(there)
    ]


# --------------------------------------------------------------------------- messages


def start_reports(old: Definition, deployed: Sequence[Definition]) -> list[MessageReport]:
    """How the starts that clients of the old release have published are read by what is deployed."""
    before = shape_of(old)
    readers = [d for d in deployed if (d.start.topic, tag_of(d.start.event_type)) == _start_of(before)]
    if not readers:
        reason = f"nothing is started by it on {before.start_topic!r} any more"
        return [_report(before.start, _CLIENTS, _NEW, [reason])]
    newest = max(readers, key=lambda definition: definition.version)
    return [_compared(before.start, shape_of(newest).start, _CLIENTS, _NEW)]


def _start_of(shape: SagaShape) -> tuple[str, str]:
    return shape.start_topic, shape.start.tag


def message_reports(old: Definition, new: Definition) -> list[MessageReport]:
    """How the commands and answers that one release writes are read by the other."""
    before, after = shape_of(old), shape_of(new)
    found: list[MessageReport] = []
    for was in before.steps:
        now = after.step(new.renames.get(was.name, was.name))
        if now is not None:
            found += _answers(was.replies, now.replies)
            found += _answers(was.undo_replies, now.undo_replies)
            found += _commands(was.command, now.command, now.participant)
            if was.undo is not None and now.undo is not None:
                found += _commands(was.undo, now.undo, now.participant)
    return list(dict.fromkeys(found))


def _answers(written: Sequence[MessageShape], read: Sequence[MessageShape]) -> Iterator[MessageReport]:
    expected = {message.tag: message for message in read}
    for message in written:
        known = expected.get(message.tag)
        if known is None:
            reasons = missing_replies([message], read)
            yield _report(message, "the old participants", _NEW, reasons)
        else:
            yield _compared(message, known, "the old participants", _NEW)


def _commands(was: MessageShape, now: MessageShape, participant: str) -> Iterator[MessageReport]:
    if was.tag != now.tag:
        reason = f"the old {participant} does not know {now.tag!r}: deploy {participant} first"
        yield _report(now, "the new orchestrator", f"the old {participant}", [reason])
        return
    yield _compared(was, now, "the old orchestrator", f"the new {participant}")
    yield _compared(now, was, "the new orchestrator", f"the old {participant}")


def _compared(written: MessageShape, read: MessageShape, writer: str, reader: str) -> MessageReport:
    return _report(written, writer, reader, message_problems(written, read), is_raised=is_upcast(written, read))


def _report(
    message: MessageShape, writer: str, reader: str, reasons: Sequence[str], *, is_raised: bool = False
) -> MessageReport:
    reading: Reading = "not at all" if reasons else "by an upcaster" if is_raised else "as it is"
    return MessageReport(tag=message.tag, written_by=writer, read_by=reader, reading=reading, reasons=tuple(reasons))
