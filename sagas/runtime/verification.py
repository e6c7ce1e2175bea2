"""An instance built again from its journal by the rules that run, and compared with the one that is stored.

Theory of operation. The journal has every input in order, so deciding them again gives the instance again: what
`decide` says of each row must be what the row says of itself (verdict, moves, note), and the last instance must
be the stored one, field by field. A run that was carried over to a newer version of its saga says so in its
journal (`CarryOver`): the rows before it are decided by the version it left.

Cut off at a revision or a time, the same gives the instance as it was then.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import CarryOver, Decision, Input
from sagas.core.instance import Instance, StepRecord
from sagas.core.kernel import decide
from sagas.errors import told
from sagas.ports import JournalRow
from sagas.runtime.rows import begun, path_of

Definitions = Mapping[tuple[str, int], Definition]

SHOWN_MAX = 120
"""Characters of a value in a difference."""

_inputs: msgspec.msgpack.Decoder[Input] = msgspec.msgpack.Decoder(Input)
_objects: msgspec.json.Decoder[dict[str, object]] = msgspec.json.Decoder(dict[str, object])


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying came to: the instance, None when nothing could be decided, and what contradicts the journal.

    `unloaded` is the version of the saga that would be needed and is not loaded here, 0 when all are: then nothing is
    said of the instance.
    """

    instance: Instance | None
    differences: tuple[str, ...] = ()
    unloaded: int = 0


def rebuild(definitions: Definitions, saga: str, version: int, rows: Sequence[JournalRow]) -> Rebuilt:
    """The instance that `rows` give, oldest first; `version` is the one it is under today."""
    inputs: list[Input] = []
    instance: Instance | None = None
    for number, row in enumerate(rows, 1):
        if row.revision != number:
            return _broken(instance, f"revision {number} is missing in the journal, {row.revision} comes instead")
        try:
            inputs.append(_inputs.decode(row.input))
        except msgspec.MsgspecError as error:
            return _broken(instance, f"revision {number}: its input cannot be read ({error})")
    for row, message, under in zip(rows, inputs, _versions(inputs, version), strict=True):
        definition = definitions.get((saga, under))
        if definition is None:
            reason = f"saga {saga!r} version {under} is not loaded here"
            return Rebuilt(instance=instance, differences=(reason,), unloaded=under)
        try:
            decision = decided_again(definition, instance, message, row)
        except Exception as error:  # a fold is the user's own code, and a changed input makes it raise anything
            return _broken(instance, f"revision {row.revision}: deciding it again fails: {_brief(error)}")
        found = _against_row(instance, decision, row)
        if found or decision.instance is None:
            return _broken(decision.instance, *(found or (f"revision {row.revision}: it starts no instance",)))
        instance = decision.instance
    return Rebuilt(instance=instance)


def decided_again(definition: Definition, before: Instance | None, message: Input, row: JournalRow) -> Decision:
    """What is decided of a row's input, with what the runtime adds to it."""
    decision = decide(definition, before, message, row.at_ms)
    return begun(decision, row.message_id) if before is None and decision.instance is not None else decision


def differences(rebuilt: Instance, stored: Instance, said_by: str = "journal") -> tuple[str, ...]:
    """What differs between the two, field by field; () when they are equal."""
    found: list[str] = []
    for name in stored.__struct_fields__:
        was, now = getattr(rebuilt, name), getattr(stored, name)
        if was == now or (name in ("content", "begun_by") and not now):
            continue  # an older release did not note the content of the definition, nor what began the run
        if name == "deadline_ms":
            continue  # decided by the definition of its time, which may say otherwise today; that it came is journaled
        if name == "steps":
            found += _step_differences(was, now, said_by)
        elif name == "data":
            found += _data_differences(was, now, said_by)
        else:
            found.append(_differs(name, now, was, said_by))
    return tuple(found)


def until(rows: Sequence[JournalRow], *, revision: int | None = None, at_ms: int | None = None) -> list[JournalRow]:
    """The rows up to a revision, or up to a time in Unix ms."""
    if revision is not None:
        return [row for row in rows if row.revision <= revision]
    # By place and not one by one: a clock that was set back must not tear a hole.
    last = max((place for place, row in enumerate(rows, 1) if at_ms is None or row.at_ms <= at_ms), default=0)
    return list(rows[:last])


def version_at(rows: Sequence[JournalRow], count: int, version: int) -> int:
    """The version an instance was under after its first `count` rows; `version` is the one it is under today."""
    later = (_inputs.decode(row.input) for row in rows[count:])
    return next((message.from_version for message in later if isinstance(message, CarryOver)), version)


def _versions(inputs: Sequence[Input], version: int) -> list[int]:
    """The version that decided each input: from the last backwards, each carrying over tells what was before it."""
    found: list[int] = []
    for message in reversed(inputs):
        found.append(version)
        if isinstance(message, CarryOver):
            version = message.from_version
    return found[::-1]


def _against_row(before: Instance | None, decision: Decision, row: JournalRow) -> tuple[str, ...]:
    decided = {
        "verdict": decision.verdict,
        "triggers": tuple(move.trigger for move in decision.moves),
        "path": path_of(before, decision),
        "note": decision.note,
    }
    said = {"verdict": row.verdict, "triggers": row.triggers, "path": row.path, "note": row.note}
    return tuple(
        f"revision {row.revision}: {name}: journal {_shown(said[name])}, decided again {_shown(value)}"
        for name, value in decided.items()
        if value != said[name]
    )


def _step_differences(rebuilt: Sequence[StepRecord], stored: Sequence[StepRecord], said_by: str) -> Iterable[str]:
    was, now = {step.name: step for step in rebuilt}, {step.name: step for step in stored}
    if list(was) != list(now):
        yield _differs("steps", list(now), list(was), said_by)
    for name in now.keys() & was.keys():
        for field in now[name].__struct_fields__:
            before, after = getattr(was[name], field), getattr(now[name], field)
            if field == "asked_ms" and not after:
                continue  # an older release did not note it
            if before != after:
                yield _differs(f"step {name!r}: {field}", after, before, said_by)


def _data_differences(rebuilt: bytes, stored: bytes, said_by: str) -> Iterable[str]:
    try:
        was, now = _objects.decode(rebuilt), _objects.decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        was, now = {}, {}
    if was == now:  # not objects, or the same ones written in other bytes
        yield _differs("data", stored, rebuilt, said_by)
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield _differs(f"data: {name}", now.get(name), was.get(name), said_by)


def _differs(what: str, stored: object, rebuilt: object, said_by: str) -> str:
    return f"{what}: stored {_shown(stored)}, {said_by} {_shown(rebuilt)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def _broken(instance: Instance | None, *found: str) -> Rebuilt:
    return Rebuilt(instance=instance, differences=found)


def _brief(error: Exception) -> str:
    return told(error)[:240]
