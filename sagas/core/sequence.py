"""What was said between an instance and its participants, as a Mermaid sequence diagram.

Told from the journal, without deciding it again: an answer is in its input, and what was sent follows from the
states that were entered: the command in `pending`, the undo in the last `undoing` of a path (those before it were
passed over), and once more when a timer to send it again came due.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from sagas.core.definition import Definition, StepSpec
from sagas.core.durations import elapsed
from sagas.core.effects import CarryOver, Fire, Input, Operate, Reply, Start
from sagas.core.instance import STUCK, Instance, leaf_of
from sagas.core.mermaid import label, node
from sagas.core.messages import tag_of
from sagas.core.renaming import marks_of
from sagas.core.story import Entry, happening

LINES_MAX = 200
"""Of messages: beyond, nobody reads it and browsers refuse to draw it. The middle is left out then."""

_SAGA = "orchestrator"
_CLIENT = "client"

_inputs: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(Input)


def sequence(definition: Definition, instance: Instance, rows: Sequence[Entry]) -> str:
    """The sequence of an instance's messages as Mermaid text, ending in a newline."""
    told = [line for row in rows for line in _lines(definition, instance, row)]
    if len(told) > LINES_MAX:
        half = LINES_MAX // 2
        told = [*told[:half], _note(f"… {len(told) - LINES_MAX} left out …"), *told[-half:]]
    everybody = dict.fromkeys((_CLIENT, _SAGA, *(spec.to.name for spec in definition.steps.values())))
    who = [name for name in everybody if any(re.search(rf"\b{node(name)}\b", line) for line in told)]
    lines = [
        f"%% saga {definition.name}, instance {node(instance.key)}: generated from its journal, do not edit",
        "sequenceDiagram",
        *(f"    participant {node(name)} as {label(name)}" for name in who),
        *(f"    {line}" for line in told),
        f"    {_note(f'{instance.saga} {instance.key} is {instance.state}')}",
    ]
    return "\n".join(lines) + "\n"


def _lines(definition: Definition, instance: Instance, row: Entry) -> Iterator[str]:
    since = elapsed(max(0, row.at_ms - instance.started_ms))
    try:
        message = _inputs.decode(row.input)
    except msgspec.MsgspecError:
        message = None
    yield from _came(definition, message, row, since)
    for step, operation in _sent(instance, message, row):
        spec = definition.step_of(step)
        if spec is not None:
            yield f"{node(_SAGA)}->>{node(spec.to.name)}: {label(_command(spec, operation))}"
    if row.path[-1:] == (STUCK,) and len(row.path) > 1:
        yield _note(f"stuck: {row.note}")


def _came(definition: Definition, message: object, row: Entry, since: str) -> Iterator[str]:
    verdict = "" if row.verdict == "advance" else f" ({row.verdict})"
    match message:
        case Start():
            event = tag_of(definition.start.event_type)
            yield f"{node(_CLIENT)}->>{node(_SAGA)}: {label(f'{event}{verdict}')}"
        case Reply(step=step, event_type=event_type):
            spec = definition.step_of(step)
            source = spec.to.name if spec is not None else _CLIENT
            arrow = "-->>" if row.verdict == "advance" else "--x"
            yield f"{node(source)}{arrow}{node(_SAGA)}: {label(f'{event_type}{verdict}, after {since}')}"
        case Fire() | Operate() | CarryOver():
            if row.verdict == "advance":
                yield _note(f"{happening(row).partition(' → ')[0]}, after {since}")
        case _:
            yield _note(happening(row))


def _sent(instance: Instance, message: object, row: Entry) -> Iterator[tuple[str, str]]:
    """What was sent: (step, do or undo)."""
    if row.verdict not in ("advance", "late"):
        return
    before = set(marks_of(row.path[0])) if row.path else set[tuple[str, str]]()
    for step, phase in marks_of(row.path[-1]) if len(row.path) > 1 else ():
        if (step, phase) not in before and phase in ("pending", "undoing", "reverting", "sweeping"):
            operation = "do" if phase == "pending" else "undo"
            items = [name for name, _ in instance.items if leaf_of(name) == step]
            yield from ((name, operation) for name in items or [step])
    is_again = isinstance(message, Fire) and message.kind in ("resend", "retry")
    if isinstance(message, Fire) and is_again and row.verdict == "advance" and len(row.path) <= 1:
        yield message.step, message.operation


def _command(spec: StepSpec, operation: str) -> str:
    if operation == "undo" and spec.undo is not None:
        return tag_of(spec.undo.command_type)
    return tag_of(spec.command_type)


def _note(text: str) -> str:
    return f"Note over {node(_SAGA)}: {label(text)}"
