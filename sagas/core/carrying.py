"""A run of an older version under a newer one: whether it can go on there, and what is changed in it if it does.

Theory of operation. A run goes on under the newer definition if everything it has is there, under the same name or
under one that the author's `renames` gives: the state it is in, every step in its ledger with the same
participant and class, an undo for whatever is open, an end to which each answer that may still come can be read.
What stands before it must be what it has done, or a later step would rely on what never was; what it
has done may not stand before it again. `problems` says what is missing, from the two shapes alone.

Carrying over is an input like any other (`CarryOver`): journaled, one revision more. A step that has another
name now keeps the one under which its commands went out (`StepRecord.sent_as`): the participant's barrier
knows it by that, and under another would carry it out a second time and find nothing to undo. The answers come
under the old name, and `decide` reads them under the new one.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from sagas.core.compatibility import missing_replies, type_problems
from sagas.core.course import BACKWARD
from sagas.core.effects import CarryOver, Move
from sagas.core.instance import STUCK, Instance, Operation, StepRecord, leaf_of
from sagas.core.renaming import marks_of, merged_leaves, renamed, renamed_leaves, renamed_state
from sagas.core.shape import MessageShape, SagaShape, StepShape
from sagas.core.travelled import course_problems
from sagas.core.turn import Turn

_ASKING = ("pending", "resolving")
"""Phases in which a command is out."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run cannot go on under the newer version, and what its author may write, "" for nothing."""

    text: str
    remedy: str = ""


# --------------------------------------------------------------------------- whether


def problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], instance: Instance) -> list[Problem]:
    """Why the run cannot go on under `new`; [] when it can, as far as shapes tell: its data has to be read, too."""
    if old.key != new.key:
        return [Problem(text=f"its business key was {old.key!r} and is {new.key!r} now")]
    found: dict[str, Problem] = {}
    for where in dict.fromkeys((instance.state, instance.stuck_from or instance.state)):
        if renamed_state(where, renames, new.states) is None:
            found.update(_lost_state(old, new, renames, where))
    for one, another, name in merged_leaves(instance, renames):
        text = f"it has come to {one!r} and to {another!r}, and both would be called {name!r}"
        found[text] = Problem(text=text, remedy="give each a name of its own in renames")
    for record in instance.steps:
        found.update((problem.text, problem) for problem in _step_problems(old, new, renames, record))
    found.update((text, Problem(text=text)) for text in _list_problems(old, new, renames, instance))
    found.update((text, Problem(text=text)) for text in _wait_problems(old, new, renames, instance))
    found.update((text, Problem(text=text)) for text in _asked_problems(old, new, renames, instance))
    if not found:
        texts = course_problems(old, new, renames, instance)
        found.update((text, Problem(text=text)) for text in texts)
    return list(found.values())


def _wait_problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], instance: Instance) -> Iterable[str]:
    """Why a signal it waits for, or has had too early, would not be taken any more."""
    marks = [*marks_of(instance.state), *marks_of(instance.stuck_from)]  # a signal frees a run that is held at its wait
    names = {name for name, phase in marks if phase == "waiting"} | {signal[0] for signal in instance.signals}
    for was, now in ((old.wait(name), new.wait(renames.get(name, name))) for name in sorted(names)):
        if was is None or now is None:
            continue  # without it, its state is gone
        if was.topic != now.topic:
            yield f"wait {now.name!r} took its signals from {was.topic!r} and takes them from {now.topic!r} now"
        for text in missing_replies(was.signals, now.signals):
            yield f"wait {now.name!r}: {text}"


def _lost_state(
    old: SagaShape, new: SagaShape, renames: Mapping[str, str], state: str
) -> Iterable[tuple[str, Problem]]:
    gone = [step for step, _ in marks_of(state) if new.step(renames.get(step, step)) is None and old.step(step)]
    for step in gone:
        yield _gone(step), Problem(text=_gone(step), remedy=rename_hint(old, new, step))
    if not gone:
        yield state, Problem(text=f"state {state!r} no longer exists")


def _gone(step: str) -> str:
    return f"step {step!r} no longer exists"


def rename_hint(old: SagaShape, new: SagaShape, name: str) -> str:
    """What to write if a step of `new` is the step `name` of `old` under another name; "" when none looks like it."""
    was = old.step(name)
    fresh = [step for step in new.steps if old.step(step.name) is None]
    alike = [step for step in fresh if was is not None and _is_alike(was, step)]
    if not alike:
        return ""
    return (
        f"if {alike[0].name!r} is the same step under another name, write "
        f'Saga("{new.saga}", …, version={new.version}, renames={{"{name}": "{alike[0].name}"}})'
    )


def _is_alike(was: StepShape, step: StepShape) -> bool:
    return step.participant == was.participant and (step.command.tag == was.command.tag or step.kind == was.kind)


def _step_problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], record: StepRecord) -> Iterable[Problem]:
    before = leaf_of(record.name)
    name = renames.get(before, before)
    was, step = old.step(before), new.step(name)
    if step is None:
        yield Problem(text=_gone(before), remedy=rename_hint(old, new, before))
        return
    if was is None:
        yield Problem(text=f"its ledger has a step {before!r} that version {old.version} had not")
        return
    if was.participant != step.participant:
        yield Problem(text=f"step {name!r} went to {was.participant!r} and goes to {step.participant!r} now")
    if was.kind != step.kind:
        yield Problem(text=f"step {name!r} was {was.kind} and is {step.kind} now")
    sent_as = leaf_of(record.sent_as)
    if record.is_open and sent_as and renames.get(sent_as, sent_as) != name:
        text = f"step {name!r} went out as {sent_as!r}, and answers under that name would be nobody's"
        yield Problem(text=text, remedy=f'write renames={{"{sent_as}": "{name}"}} beside the others')
    yield from (Problem(text=f"step {name!r} {text}") for text in _item_problems(was, step))
    if record.is_open and was.undo is not None and step.undo is None:
        yield Problem(text=f"step {name!r} can no longer be undone, and its effect is open")
    for text in missing_replies(was.replies, step.replies):
        yield Problem(text=f"step {name!r}: {text}")
    if was.undo is not None and step.undo is not None:
        for text in missing_replies(was.undo_replies, step.undo_replies):
            yield Problem(text=f"step {name!r}, its undo: {text}")


def _list_problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], instance: Instance) -> Iterable[str]:
    """Why a list that had no items, of which the ledger says nothing, would stand for what was never done."""
    for leaf, _ in instance.marks:
        was, now = old.step(leaf), new.step(renames.get(leaf, leaf))
        if was is not None and now is not None and not instance.records_of(leaf) and now.item is None:
            yield from (f"step {now.name!r} {text}" for text in _item_problems(was, now))


def _item_problems(was: StepShape, step: StepShape) -> Iterable[str]:
    """Why the items that a run has listed could not be gone on with."""
    if (was.item is None) != (step.item is None):
        said = "was done once and is done for each item now", "was done for each item and is done once now"
        yield said[step.item is None]
    elif was.item is not None and step.item is not None:
        yield from type_problems(was.item, step.item, "has items that cannot be read: its item")


def _asked_problems(old: SagaShape, new: SagaShape, renames: Mapping[str, str], instance: Instance) -> Iterable[str]:
    """What is sent again until it is answered, and would be another message: its participant answers the first only."""
    for name, now, operation in asked_for(new, renames, instance):
        was = old.step(name)
        if was is None:
            continue
        if operation == "undo" and was.undo is not None and now.undo is not None and _is_another(was.undo, now.undo):
            yield f"step {now.name!r} is being undone, and its undo is another message now"
        if operation == "do" and _is_another(was.command, now.command):
            yield f"step {now.name!r} is asked for until it answers, and its command is another message now"


def asked_for(
    new: SagaShape, renames: Mapping[str, str], instance: Instance
) -> Iterator[tuple[str, StepShape, Operation]]:
    """What is sent again until it is answered: the step's name in the run, that step now, do or undo."""
    for name, phase in marks_of(instance.stuck_from if instance.state == STUCK else instance.state):
        now = new.step(renames.get(name, name))
        if now is not None and phase in BACKWARD and now.undo is not None:
            yield name, now, "undo"
        elif now is not None and phase in _ASKING and now.unknown in ("ask", "resend"):
            yield name, now, "do"


def _is_another(was: MessageShape, now: MessageShape) -> bool:
    return (was.tag, was.version, was.fields) != (now.tag, now.version, now.fields)


# --------------------------------------------------------------------------- doing it


def carry_over(turn: Turn, message: CarryOver) -> None:
    """Put the run under the turn's definition. Whether that can be was asked before: `problems`."""
    definition, instance = turn.definition, turn.instance
    if (instance.version, instance.content) != (message.from_version, message.from_content):
        turn.answer("duplicate", f"it is of version {instance.version} already")
        return
    renames = definition.renames
    states = [state for edge in definition.edges for state in (edge.source, edge.dest)]
    state = renamed_state(instance.state, renames, states)
    stuck_from = renamed_state(instance.stuck_from, renames, states) if instance.stuck_from else ""
    if state is None or stuck_from is None:
        turn.answer("violation", f"version {definition.version} has no state {instance.state!r}")
        return
    if state != instance.state:
        turn.moves.append(Move(trigger="carry-over", source=instance.state, dest=state))
    turn.change(
        version=definition.version,
        content=definition.content,
        state=state,
        steps=tuple(_renamed_record(record, renames) for record in instance.steps),
        stuck_step=renamed(renames, instance.stuck_step),
        items=tuple((renamed(renames, name), item) for name, item in instance.items),
        stuck_from=stuck_from,
        marks=tuple((renames.get(leaf, leaf), word) for leaf, word in instance.marks),
        signals=tuple((renames.get(wait, wait), event_type, data) for wait, event_type, data in instance.signals),
        cause=_renamed_text(instance.cause, renames),
        reason=_renamed_text(instance.reason, renames),
    )
    said = [f"{leaf} is {renames[leaf]}" for leaf in renamed_leaves(instance, renames)]
    turn.note = f"from version {instance.version} to {definition.version}" + (f": {', '.join(said)}" if said else "")


def _renamed_record(record: StepRecord, renames: Mapping[str, str]) -> StepRecord:
    name = renamed(renames, record.name)
    if name == record.name:
        return record
    return msgspec.structs.replace(record, name=name, sent_as=record.sent_as or record.name)


def _renamed_text(text: str, renames: Mapping[str, str]) -> str:
    """A cause or a reason begins with its step, and is told under it."""
    step, colon, rest = text.partition(": ")
    return f"{renamed(renames, step)}: {rest}" if colon else text
