"""A run told in words: what each step came to, why the run turned back, what happened when.

The words stand here once, for `sagas show` and for every other place that tells of a run. They are
made from the instance's own ledger and journal; a definition only adds the name of an undo
(`release` instead of `undo reserve`).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Literal, Protocol

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import CarryOver, Fire, Input, Operate, Reply, Signal, Start, Verdict
from sagas.core.instance import ABANDONED, ENDS, ITEM_MARK, STUCK, Instance, Operation, StepRecord, key_of, leaf_of

_inputs: msgspec.msgpack.Decoder[Input] = msgspec.msgpack.Decoder(Input)

Outcome = Literal["ok", "refused", "unknown", "waiting"]
"""What an operation came to. *unknown*: no answer in time, and its undo has been sent or it is being asked about."""

_ITEMS_NAMED_MAX = 3

Names = Mapping[str, str]
"""Step → what its undo is called."""

_FIRST_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")
_PARENTHESIS = re.compile(r"\A\w+ \((.*)\)\Z", re.DOTALL)

_PHASE_WORDS = {
    "pending": "{} asked",
    "resolving": "{} being asked about",
    "undoing": "{} being undone",
    "reverting": "{} being undone to go another way",
    "sweeping": "{} being undone after all",
    "waiting": "waiting for {}",
    "delaying": "pausing for {}",
    "deciding": "deciding {}",
}


class Entry(Protocol):
    """What is read of a journal row."""

    @property
    def revision(self) -> int:
        """Its number, from 1."""
        ...

    @property
    def at_ms(self) -> int:
        """When, Unix time in milliseconds."""
        ...

    @property
    def verdict(self) -> Verdict:
        """How the input stood to the instance."""
        ...

    @property
    def input(self) -> bytes:
        """The encoded `Input`."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The states gone through, the first being where it stood."""
        ...

    @property
    def note(self) -> str:
        """What the kernel had to say."""
        ...


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a step: its name, what it came to and why, its attempts and times (Unix ms, 0 = not yet)."""

    name: str
    step: str
    operation: Operation
    outcome: Outcome
    why: str
    reply: str
    attempts: int
    sent_ms: int
    answered_ms: int

    def __str__(self) -> str:
        return f"{self.name} {self.outcome} ({self.why})" if self.why else f"{self.name} {self.outcome}"


def undo_names(definition: Definition) -> dict[str, str]:
    """What the undo of each step is called: the first word of its command, `release` for `ReleaseInventory`.

    A word that two undos share, or that a step is called, says too little: those keep `undo reserve`.
    """
    words = {s.name: _first_word(s.undo.command_type.__name__) for s in definition.steps.values() if s.undo is not None}
    taken = [*words.values(), *definition.steps]
    return {step: word for step, word in words.items() if taken.count(word) == 1}


def _first_word(name: str) -> str:
    found = _FIRST_WORD.match(name)
    return found.group().lower() if found else name.lower()


def operations(instance: Instance, names: Names) -> list[Told]:
    """Everything that was asked of participants: the steps in their order, then the undos in theirs."""
    done = [_do(instance, record) for record in instance.steps]
    undone = [_undo(instance, record, names) for record in reversed(instance.steps) if record.undo_sent_ms]
    return done + sorted(undone, key=lambda told: told.sent_ms)


def summary(instance: Instance, names: Names) -> str:
    """The run in one line: `create ok · pay refused (card declined) · release ok`, and the cause if no step has it."""
    told = operations(instance, names)
    said = [_told_together(list(group)) for _, group in groupby(told, _of_one_step)]
    tell = (each.step for each in told if each.operation == "do" and each.outcome in ("refused", "unknown"))
    if instance.cause and not any(instance.cause.startswith(f"{step}: ") for step in tell):
        said.append(f"cause: {instance.cause}")
    return " · ".join(said)


def _of_one_step(told: Told) -> tuple[str, Operation]:
    return leaf_of(told.step), told.operation


def _told_together(operations: Sequence[Told]) -> str:
    """The items of a fan-out as one: those that are well are counted, the others named."""
    first = operations[0]
    if ITEM_MARK not in first.step:
        return str(first)
    well = sum(told.outcome == "ok" for told in operations)
    others = [
        f"{key_of(told.step)} {str(told).removeprefix(told.name).lstrip()}"
        for told in operations
        if told.outcome != "ok"
    ]
    more = f" and {len(others) - _ITEMS_NAMED_MAX} more" if len(others) > _ITEMS_NAMED_MAX else ""
    said = [f"{well} of {len(operations)} ok", *others[:_ITEMS_NAMED_MAX]]
    return f"{leaf_of(first.name)} {', '.join(said)}{more}"


def _do(instance: Instance, record: StepRecord) -> Told:
    outcome = _do_outcome(record)
    return Told(
        name=record.name,
        step=record.name,
        operation="do",
        outcome=outcome,
        why=_why(instance, record.name) if outcome in ("refused", "unknown") else "",
        reply=record.reply,
        attempts=record.attempts,
        sent_ms=record.sent_ms,
        answered_ms=record.answered_ms,
    )


def _do_outcome(record: StepRecord) -> Outcome:
    if record.effect == "intended":
        return "waiting"
    if record.effect == "refused":
        return "refused"
    # An answer that came after the undo was sent did not decide anything: the step was unknown then.
    in_time = record.reply and (not record.undo_sent_ms or record.answered_ms <= record.undo_sent_ms)
    return "ok" if in_time else "unknown"


def _undo(instance: Instance, record: StepRecord, names: Names) -> Told:
    outcome: Outcome = "ok" if record.effect == "undone" else "refused" if record.undo_reply else "waiting"
    return Told(
        name=_undo_name(record.name, names),
        step=record.name,
        operation="undo",
        outcome=outcome,
        why=_reason_of(instance.reason, record.name) if outcome == "refused" else "",
        reply=record.undo_reply,
        attempts=record.undo_attempts,
        sent_ms=record.undo_sent_ms,
        answered_ms=record.undo_answered_ms,
    )


def _undo_name(name: str, names: Names) -> str:
    leaf, mark, key = name.partition(ITEM_MARK)
    return f"{names.get(leaf, f'undo {leaf}')}{mark}{key}"


def _why(instance: Instance, step: str) -> str:
    return _reason_of(instance.cause, step) or _reason_of(instance.reason, step)


def _reason_of(text: str, step: str) -> str:
    if not text.startswith(f"{step}: "):
        return ""
    said = text.removeprefix(f"{step}: ")
    found = _PARENTHESIS.match(said)
    return found.group(1) if found else "" if said.isidentifier() else said


def standing(instance: Instance) -> str:
    """Where the run is and why, in a sentence or two; "" of a run that went straight through."""
    where = _standing(instance)
    if not instance.incident:
        return where
    return f"{where}; incident: {instance.incident}" if where else f"incident: {instance.incident}"


def _standing(instance: Instance) -> str:
    if instance.state == STUCK:
        return f"stuck: {instance.reason or 'no reason was kept'}"
    if instance.state == ABANDONED:
        return instance.cause  # whoever did it, and why: that is no turning back
    if instance.state not in ENDS:
        turned = f"; turned back because of {instance.cause}" if instance.cause else ""
        return f"on its way: {_place(instance.state)}{turned}"
    return f"turned back because of {instance.cause}" if instance.cause else ""


def happenings(entries: Sequence[Entry]) -> list[tuple[int, str]]:
    """The journal in words, each with its time in Unix ms."""
    return [(entry.at_ms, happening(entry)) for entry in entries]


def happening(entry: Entry) -> str:
    """One journal row in words: what came in, what it led to, and how it stood if it changed nothing."""
    said = _input_words(entry.input)
    if entry.verdict != "advance":
        said = f"{said} ({entry.verdict})"
    passed = [words for before, state in pairwise(entry.path) if (words := _reached(before, state))]
    if passed:
        said = f"{said} → {' → '.join(passed)}"
    note = entry.note.removesuffix(": ")  # of a person who gave no reason
    return f"{said}: {note}" if note else said


def _reached(before: str, state: str) -> str:
    """Where it has come to from `before`; branches that only go on waiting are not told again."""
    known = before.split("|")
    return ", ".join(_branch(place) for place in state.split("|") if place not in known or before == state)


def _place(state: str) -> str:
    return ", ".join(_branch(place) for place in state.split("|"))


def _branch(state: str) -> str:
    step, _, phase = state.partition(".")
    return _PHASE_WORDS[phase].format(step) if phase in _PHASE_WORDS else state


def _input_words(encoded: bytes) -> str:
    try:
        message: Input = _inputs.decode(encoded)
    except msgspec.MsgspecError:
        return "something this release cannot read"
    match message:
        case Start(key=key):
            return f"started for {key}"
        case Reply(step=step, operation=operation, event_type=event_type, data=data):
            undone = " undo" if operation == "undo" else ""
            return f"{step}{undone} answered {event_type}{_because(data)}"
        case Signal(event_type=event_type, data=data):
            return f"the signal {event_type}{_because(data)} came"
        case Fire(kind="absent", step=step):
            return f"{step}: no signal came in time"
        case Fire(kind="over", step=step):
            return f"{step}: its time is over"
        case Fire(kind="deadline"):
            return "the deadline of the whole run passed"
        case Fire(kind=kind, step=step, operation=operation, attempt=attempt):
            undone = " undo" if operation == "undo" else ""
            return f"{step}{undone}: {kind} after attempt {attempt}"
        case Operate(action=action, who=who):
            return f"{who} asked to {action} it"
        case CarryOver():
            return "carried over"


def _because(data: bytes) -> str:
    try:
        said = msgspec.json.decode(data, type=dict[str, object]).get("reason")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return f" ({said})" if isinstance(said, str) and said else ""
