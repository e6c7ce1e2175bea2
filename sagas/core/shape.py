"""What of a saga's definition matters to a run that is under way, as plain data: to be hashed, kept and compared.

Theory of operation. A run that was started by one release and is continued by another needs the same names of
states and steps, the same participants behind them, and messages that can still be read. That is a `SagaShape`:
steps with their class, participant, meaning of an unknown outcome, command and replies with their fields, the way
forward, the saga's own data. `content` is its hash, pinned to every run beside the version: a definition that was
changed under the same number is noticed. What a run can take either way is left out, so that it may be
changed at any time: docstrings, timeouts, retries, the deadline, function bodies, the start. That function bodies
were changed is noted all the same, beside the content (`code.py`).

Types are described by what is on the wire: a list and a tuple are both an array, and field order says nothing, but
where fields go by their place (`array_like` and named tuples): there it says everything.
"""

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import inspect

from sagas.core.code import code_of
from sagas.core.definition import Definition, StepSpec
from sagas.core.hashing import short_hash
from sagas.core.messages import Event, Message, Rejection, tag_of
from sagas.core.moves import Moves, forward_moves, moves_ahead
from sagas.core.upcasting import known_versions, version_of

Limit = bool | int | float | str


class FieldShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field of an object: its name on the wire, and whether it must be there."""

    name: str
    type: "TypeShape"
    is_required: bool = True


class TypeShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A type as it is on the wire: `kind` with its bounds, what is inside it, its fields or its values."""

    kind: str
    limits: dict[str, Limit] = {}
    inside: tuple["TypeShape", ...] = ()
    fields: tuple[FieldShape, ...] = ()
    values: tuple[str, ...] = ()


class MessageShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message class. `oldest` is the first version that is still read as it."""

    tag: str
    name: str
    fields: tuple[FieldShape, ...] = ()
    version: int = 1
    oldest: int = 1
    is_rejection: bool = False


class StepShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step: who carries it out, what it says and hears, and how it is undone if it is.

    `item` is what it is done for, None when it is done once.
    """

    name: str
    kind: str
    participant: str
    unknown: str
    command: MessageShape
    replies: tuple[MessageShape, ...]
    undo: MessageShape | None = None
    undo_replies: tuple[MessageShape, ...] = ()
    item: TypeShape | None = None


class WaitShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A wait: where its signals come, which they are, and what it means that none comes."""

    name: str
    topic: str
    absence: str
    signals: tuple[MessageShape, ...]


class SagaShape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of a saga. `forward` are its moves ahead: (state, trigger, state).

    `ahead` are all moves of a run that has not turned back, to another way and by silence, too; () in shapes of an
    older release. It is not part of the content, for it follows from what is.

    `code` are the hashes of its functions (`code.py`): a run goes on under changed ones, and is told so.
    """

    saga: str
    version: int
    content: str
    key: str
    data: TypeShape
    start_topic: str
    start: MessageShape
    steps: tuple[StepShape, ...]
    states: tuple[str, ...]
    forward: Moves
    waits: tuple[WaitShape, ...] = ()
    code: dict[str, str] = {}
    ahead: Moves = ()

    @property
    def moves(self) -> Moves:
        """All its moves ahead, as far as they are known."""
        return self.ahead or self.forward

    def wait(self, name: str) -> WaitShape | None:
        """The wait `name`, None when there is none."""
        return next((wait for wait in self.waits if wait.name == name), None)

    def step(self, name: str) -> StepShape | None:
        """The step `name`, None when there is none."""
        return next((step for step in self.steps if step.name == name), None)


_shapes: msgspec.json.Decoder[SagaShape] = msgspec.json.Decoder(SagaShape)


def encode_shape(shape: SagaShape) -> bytes:
    """The shape as JSON."""
    return msgspec.json.encode(shape)


def decode_shape(data: bytes) -> SagaShape:
    """The shape in `data`. Raises msgspec.MsgspecError."""
    return _shapes.decode(data)


def shape_of(definition: Definition) -> SagaShape:
    """The shape of a definition."""
    return SagaShape(
        saga=definition.name,
        version=definition.version,
        content=definition.content or content_of(definition),
        key=definition.key,
        data=type_shape(definition.data_type),
        start_topic=definition.start.topic,
        start=_message(definition.start.event_type, definition.key),
        steps=tuple(_step(spec, definition.key) for spec in definition.steps.values()),
        states=tuple(sorted({state for edge in definition.edges for state in (edge.source, edge.dest)})),
        forward=forward_moves(definition),
        waits=_waits(definition),
        code=code_of(definition),
        ahead=moves_ahead(definition),
    )


def type_shape(python_type: object) -> TypeShape:
    """What is on the wire of a value of this type."""
    return _type(inspect.type_info(python_type), ())


def content_of(definition: Definition) -> str:
    """The hash of what matters to a run under way, 16 hexadecimal digits: it is stored with each run."""
    steps = [_hashed(_step(spec, definition.key)) for spec in definition.steps.values()]
    waits = [msgspec.structs.replace(w, signals=_bare(w.signals)) for w in _waits(definition)]
    said = (definition.key, type_shape(definition.data_type), steps, waits, forward_moves(definition))
    return short_hash(msgspec.json.encode(said, order="sorted"))[:8].hex()


def _hashed(step: StepShape) -> StepShape:
    # Reading one more old version changes nothing for a run: an upcaster may be added at any time.
    return msgspec.structs.replace(
        step,
        command=_bare([step.command])[0],
        replies=_bare(step.replies),
        undo=_bare([step.undo])[0] if step.undo else None,
        undo_replies=_bare(step.undo_replies),
    )


def _bare(messages: Iterable[MessageShape]) -> tuple[MessageShape, ...]:
    found = (msgspec.structs.replace(message, oldest=1) for message in messages)
    return tuple(sorted(found, key=lambda message: message.tag))


def _waits(definition: Definition) -> tuple[WaitShape, ...]:
    return tuple(
        WaitShape(
            name=wait.name,
            topic=wait.topic,
            absence=wait.absence,
            signals=tuple(_message(signal, definition.key) for signal in wait.signals.values()),
        )
        for wait in definition.waits.values()
    )


def _step(spec: StepSpec, key: str) -> StepShape:
    return StepShape(
        name=spec.name,
        kind=spec.kind,
        participant=spec.to.name,
        unknown=spec.unknown,
        command=_message(spec.command_type, key),
        replies=tuple(_message(reply, key) for reply in spec.replies.values()),
        undo=_message(spec.undo.command_type, key) if spec.undo else None,
        undo_replies=tuple(_message(reply, key) for reply in spec.undo.replies.values()) if spec.undo else (),
        item=type_shape(spec.each.item_type) if spec.each is not None else None,
    )


def _message(message_type: type[Message], key: str) -> MessageShape:
    kind = inspect.type_info(message_type)
    assert isinstance(kind, inspect.StructType)
    return MessageShape(
        tag=tag_of(message_type),
        name=message_type.__name__,
        fields=tuple(field for field in _fields(kind.fields, (message_type,)) if field.name != key),
        version=version_of(message_type),
        oldest=known_versions(message_type)[0],
        is_rejection=issubclass(message_type, Event) and issubclass(message_type, Rejection),
    )


def _fields(fields: tuple[inspect.Field, ...], outer: tuple[type[Any], ...]) -> tuple[FieldShape, ...]:
    return tuple(sorted(_in_order(fields, outer), key=lambda field: field.name))


def _in_order(fields: tuple[inspect.Field, ...], outer: tuple[type[Any], ...]) -> tuple[FieldShape, ...]:
    return tuple(FieldShape(name=f.encode_name, type=_type(f.type, outer), is_required=f.required) for f in fields)


_LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern", "tz")


def _type(kind: inspect.Type, outer: tuple[type[Any], ...]) -> TypeShape:
    """`outer` are the classes this type stands in: one that contains itself is named there, not entered again."""
    limits: dict[str, Limit] = {name: value for name in _LIMITS if (value := getattr(kind, name, None)) is not None}
    match kind:
        case inspect.Metadata():
            return _type(kind.type, outer)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            return _object(kind, outer)
        case inspect.UnionType():
            return TypeShape(kind="union", inside=_sorted(_type(member, outer) for member in kind.types))
        case inspect.TupleType():
            return TypeShape(kind="tuple", inside=tuple(_type(member, outer) for member in kind.item_types))
        case inspect.CollectionType():
            return TypeShape(kind="array", limits=limits, inside=(_type(kind.item_type, outer),))
        case inspect.DictType():
            inside = (_type(kind.key_type, outer), _type(kind.value_type, outer))
            return TypeShape(kind="object", limits=limits, inside=inside)
        case inspect.LiteralType():
            return TypeShape(kind="choice", values=tuple(sorted(map(_value, kind.values))))
        case inspect.EnumType():
            members = [cast("Any", member).value for member in kind.cls]
            return TypeShape(kind="choice", values=tuple(sorted(map(_value, members))))
        case inspect.CustomType():
            return TypeShape(kind=f"{kind.cls.__module__}.{kind.cls.__qualname__}")
        case _:
            return TypeShape(kind=type(kind).__name__.removesuffix("Type").lower(), limits=limits)


def _object(
    kind: inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType,
    outer: tuple[type[Any], ...],
) -> TypeShape:
    if kind.cls in outer:
        return TypeShape(kind=f"the {kind.cls.__name__} around it")
    if isinstance(kind, inspect.NamedTupleType):
        return TypeShape(kind="row", limits={"closed": True}, fields=_in_order(kind.fields, (*outer, kind.cls)))
    fields = _fields(kind.fields, (*outer, kind.cls))
    if not isinstance(kind, inspect.StructType):
        return TypeShape(kind="struct", fields=fields)
    limits: dict[str, Limit] = {}
    if kind.tag is not None:
        limits["tag"] = f"{kind.tag_field}={kind.tag}"
    if kind.forbid_unknown_fields:
        limits["closed"] = True
    if kind.array_like:
        return TypeShape(kind="row", limits=limits, fields=_in_order(kind.fields, (*outer, kind.cls)))
    return TypeShape(kind="struct", limits=limits, fields=fields)


def _sorted(types: Any) -> tuple[TypeShape, ...]:
    return tuple(sorted(types, key=msgspec.json.encode))


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()
