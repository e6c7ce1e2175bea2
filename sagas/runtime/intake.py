"""Understanding what comes in: a start, a reply, somebody else's event, or nothing that can be read."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import Reply, Signal, Start
from sagas.core.envelope import Envelope, Header, Undecodable, decode_data, decode_envelope
from sagas.core.ids import is_instance_id
from sagas.core.instance import Operation
from sagas.core.republished import first_id
from sagas.errors import DefinitionError, told
from sagas.ports import Incoming
from sagas.runtime.elsewhere import Elsewhere


class StartItem(msgspec.Struct, frozen=True):
    """An event that begins a run of `definition`, unless there is one for its key."""

    incoming: Incoming
    definition: Definition
    start: Start


class ReplyItem(msgspec.Struct, frozen=True):
    """An answer to a command of the instance `instance_id`."""

    incoming: Incoming
    instance_id: str
    reply: Reply


class SignalItem(msgspec.Struct, frozen=True):
    """An event that runs of `sagas` with the business key `key` may wait for.

    `start` if it begins one, too; a PoisonItem if it would and cannot be read as that. Runs of the sagas `elsewhere`
    wait for it if they are of a version that is not loaded here.
    """

    incoming: Incoming
    sagas: tuple[str, ...]
    key: str
    signal: Signal
    start: "StartItem | PoisonItem | None" = None
    elsewhere: tuple[str, ...] = ()


class PoisonItem(msgspec.Struct, frozen=True):
    """A message that cannot be dealt with, and why."""

    incoming: Incoming
    reason: str


class ForeignItem(msgspec.Struct, frozen=True):
    """An event that no saga here waits for: other people's topics carry other people's events."""

    incoming: Incoming


_OPERATIONS: Mapping[str, Operation] = {"do": "do", "undo": "undo"}

Item = StartItem | ReplyItem | SignalItem | PoisonItem | ForeignItem


def wanted_runs(item: Item) -> list[tuple[str, str]]:
    """The runs that an item is for, by saga and business key."""
    if isinstance(item, ReplyItem):
        return []
    if isinstance(item, StartItem):
        return [(item.definition.name, item.start.key)]
    if isinstance(item, SignalItem):
        started = wanted_runs(item.start) if item.start is not None else []
        return [*started, *((saga, item.key) for saga in (*item.sagas, *item.elsewhere))]
    return []


def copies_among(items: Sequence[Item]) -> dict[str, str]:
    """Of those messages that were published again: their id → the one that they came under first."""
    said = [item.incoming for item in items if Header.FIRST_ID in item.incoming.headers]
    return {i.id: first for i in said if (first := first_id(i.id, i.headers)) != i.id}


class Intake:
    """Knows the topics, their business keys and the events that start something; `elsewhere`, what others wait for."""

    def __init__(self, definitions: Sequence[Definition], elsewhere: Elsewhere | None = None) -> None:
        # An event that only an older version is started by still starts that: it was published before the newer one.
        by_age = [*sorted(definitions, key=lambda d: d.version), *newest(definitions)]
        self._starts = _starts(by_age)
        self._signals = _signals(definitions)
        self._keys = _key_fields(definitions)
        self._elsewhere = elsewhere or Elsewhere()

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to read."""
        return tuple(self._keys)

    def read(self, incoming: Incoming) -> Item:
        """What `incoming` is. Never raises for what is in a message."""
        if incoming.defect:
            return PoisonItem(incoming, incoming.defect)
        key_field = self._keys.get(incoming.topic)
        if key_field is None:
            return ForeignItem(incoming)  # what was parked by a release that read this topic
        envelope = decode_envelope(incoming.payload, key_field)
        if isinstance(envelope, Undecodable):
            return PoisonItem(incoming, envelope.reason)
        if Header.INSTANCE in incoming.headers:
            return _reply(incoming, envelope)
        definition = self._starts.get((incoming.topic, envelope.event_type))
        started = _start(incoming, envelope, definition) if definition is not None else None
        waiting = self._signals.get((incoming.topic, envelope.event_type), ())
        elsewhere = self._elsewhere.sagas(incoming.topic, envelope.event_type)
        if not waiting and not elsewhere:
            return started or ForeignItem(incoming)
        signal = Signal(event_type=envelope.event_type, data=envelope.data, topic=incoming.topic)
        others = tuple(saga for saga in elsewhere if saga not in waiting)
        return SignalItem(incoming, waiting, envelope.key, signal, started, others)


def newest(definitions: Sequence[Definition]) -> list[Definition]:
    """The newest version of each saga: the one that new runs are made of."""
    by_name: dict[str, Definition] = {}
    for definition in definitions:
        known = by_name.get(definition.name)
        if known is None or known.version < definition.version:
            by_name[definition.name] = definition
    return list(by_name.values())


def _starts(by_age: Sequence[Definition]) -> Mapping[tuple[str, str], Definition]:
    """(topic, event type) → the definition that it starts. Raises DefinitionError where two sagas would be."""
    found: dict[tuple[str, str], Definition] = {}
    for definition in by_age:
        event = (definition.start.topic, _tag(definition))
        known = found.get(event)
        if known is not None and known.name != definition.name:
            raise DefinitionError(
                definition.name,
                "",
                f"is started by {event[1]!r} on {event[0]!r}, and so is saga {known.name!r}: an event starts one run",
                "give one of them an event of its own, or make it a part of the other: `@saga.part(…)`",
            )
        found[event] = definition
    return found


def _signals(definitions: Sequence[Definition]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(topic, event type) → the sagas with a wait that takes it."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for definition in definitions:
        for wait in definition.waits.values():
            for event_type in wait.signals:
                found.setdefault((wait.topic, event_type), {})[definition.name] = None
    return {heard: tuple(sagas) for heard, sagas in found.items()}


def _tag(definition: Definition) -> str:
    return cast(str, definition.start.event_type.__struct_config__.tag)


def _key_fields(definitions: Sequence[Definition]) -> Mapping[str, str]:
    keys: dict[str, str] = {}
    for definition in definitions:
        for topic in definition.topics:
            known = keys.setdefault(topic, definition.key)
            if known != definition.key:
                raise DefinitionError(
                    definition.name,
                    "",
                    f"reads topic {topic!r} with the business key {definition.key!r}, another saga with {known!r}",
                    "give both the same key",
                )
    return keys


def _reply(incoming: Incoming, envelope: Envelope) -> Item:
    headers = incoming.headers
    instance, step, said = headers[Header.INSTANCE], headers.get(Header.STEP, ""), headers.get(Header.OPERATION, "")
    operation = _OPERATIONS.get(said)
    if not is_instance_id(instance):
        # Not parked: no instance will ever have such an id.
        return PoisonItem(incoming, f"header {Header.INSTANCE} is no instance id: {instance[:64]!r}")
    if not step or operation is None:
        return PoisonItem(incoming, f"header {Header.STEP} is {step!r} and {Header.OPERATION} is {said!r}")
    attempt = headers.get(Header.ATTEMPT, "")
    reply = Reply(
        step=step,
        operation=operation,
        event_type=envelope.event_type,
        data=envelope.data,
        attempt=int(attempt) if attempt.isascii() and attempt.isdecimal() and len(attempt) < 10 else 0,
    )
    return ReplyItem(incoming, instance, reply)


def _start(incoming: Incoming, envelope: Envelope, definition: Definition) -> StartItem | PoisonItem:
    event = decode_data(definition.start.event_type, definition.key, envelope.key, envelope.data)
    if isinstance(event, Undecodable):
        return PoisonItem(incoming, event.reason)
    try:
        data = definition.encode_data(definition.start.fold(event))
    except Exception as error:  # the saga author's code: this start is refused, the partition goes on
        return PoisonItem(incoming, f"start of saga {definition.name!r} raised {told(error)}")
    return StartItem(incoming, definition, Start(key=envelope.key, data=data))
