"""The bytes of a message: the guide's envelope, and the headers the engine needs besides.

Theory of operation. On the wire a message is one JSON object, in this order: `id`, the business key
under its own name (`order_id`), `event_type`, `timestamp`, `data`. The business key is a field of the
message class, lifted out of `data`. What the engine needs besides (whose command this is, which step
and operation, which attempt) travels in Iggy user headers, so that a program which knows nothing of
sagas reads and writes the same topics. A payload is measured before it is decoded, and whatever a
hostile one makes the decoder raise comes back as an `Undecodable`, never as an exception.

A message of an older version is turned into its class's own shape first (`upcasting.py`). What is of that shape
already, nearly everything, is decoded once and pays for one more optional field.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from sagas.core.messages import KEY_LENGTH_MAX, KEY_PATTERN, Key, Message, tag_of
from sagas.core.strict import needs_walk, refuse_excess
from sagas.core.upcasting import (
    VERSION_FIELD,
    chain_problem,
    is_unversioned,
    raise_version,
    version_of,
    version_said,
    with_version,
)
from sagas.errors import MessageError, told

PAYLOAD_BYTES_MAX = 256 * 1024
"""Of one message, checked before decoding: a 64 MB string costs 337 ms and 117 MB to refuse later."""

_TIMESTAMP_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999

DECODE_ERRORS = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    ValueError,
    OverflowError,
    ArithmeticError,
)
"""What hostile bytes can make the decoder raise: only the first is msgspec's own (measured on msgspec 0.22)."""

M = TypeVar("M", bound=Message)


class Header:
    """The names of the engine's user headers. Values are always strings."""

    SAGA = "saga"
    INSTANCE = "instance"
    STEP = "step"
    OPERATION = "operation"
    ATTEMPT = "attempt"
    COMMAND = "command"
    KIND = "kind"
    """The step's kind, said of retriable steps only: their saga cannot turn back, it asks again after a repair."""
    DEADLINE = "deadline"
    """Unix time in ms after which the command is to be refused; most commands have none."""
    SINCE = "since"
    """Unix time in ms at which the step's command was first sent; said of undos and of commands that are sent again."""
    RETRY_COUNT = "retry-count"
    """How often the message was published again because the engine failed on it."""
    FIRST_ID = "first-id"
    """The id that a message had before it was published again; `republished.py` reads it."""


class Undecodable(msgspec.Struct, frozen=True):
    """A message that cannot be read, and why. It goes to the dead letters and its partition goes on."""

    reason: str


class Envelope(msgspec.Struct, frozen=True):
    """The outer object of a message; `data` is still raw JSON."""

    id: str
    key: str
    event_type: str
    timestamp: datetime
    data: bytes

    @property
    def timestamp_ms(self) -> int:
        """When it was written, in Unix milliseconds, as its writer says; 0 for a time before 1970."""
        return min(max(0, int(self.timestamp.timestamp() * 1000)), _TIMESTAMP_MS_MAX)


_Version = Annotated[int, Meta(ge=0, le=2**31)] | Annotated[str, Meta(max_length=64)] | None
"""A version as a message may say it; None, or nothing, when it says none."""


_Short = Annotated[str, Meta(max_length=KEY_LENGTH_MAX)]


class _Wire(msgspec.Struct, frozen=True):
    id: Key
    event_type: Key
    timestamp: datetime
    data: msgspec.Raw
    version: _Version = None


class _Unchecked(msgspec.Struct, frozen=True):
    """`_Wire` with three names that are any text. The one that is none is the business key."""

    id: _Short
    event_type: _Short
    timestamp: datetime
    data: msgspec.Raw
    version: _Version = None


class _EnvelopeReader(msgspec.Struct, frozen=True):
    """How the envelopes with one business key are read.

    msgspec calls a pattern for each field that has one, which is two thirds of the cost of an envelope. So the three
    names are held against their pattern at once; and when that fails, `checked` says which of them is wrong, and how.
    """

    checked: msgspec.json.Decoder[_Wire]
    unchecked: msgspec.json.Decoder[_Unchecked]

    def read(self, payload: bytes, key_field: str) -> _Wire | _Unchecked:
        """Raises one of `DECODE_ERRORS`."""
        try:
            wire = self.unchecked.decode(payload)
        except DECODE_ERRORS:
            return self.checked.decode(payload)
        names = f"{wire.id}\n{getattr(wire, key_field)}\n{wire.event_type}"
        return wire if _have_keys(names) else self.checked.decode(payload)


class _Said(msgspec.Struct, frozen=True):
    version: _Version = None


class _Reader(msgspec.Struct, frozen=True):
    """How a message class is read. `is_loose`: what the decoder lets through has to be looked at once more."""

    decoder: msgspec.json.Decoder[Any]
    is_loose: bool
    is_versioned: bool


_SAID = "said_version__"
"""The field that takes up what a message says of its version, under a name no message has."""

_encode = msgspec.json.Encoder().encode
_have_keys = re.compile(rf"{KEY_PATTERN}\n{KEY_PATTERN}\n{KEY_PATTERN}").fullmatch
_envelopes: dict[str, _EnvelopeReader] = {}
_readers: dict[tuple[type[Message], str], _Reader] = {}


def encode_message(message: Message, *, message_id: str, key_field: str, key: str, now_ms: int) -> bytes:
    """The payload of `message`; the business key stands at the top under `key_field`, not in `data`."""
    return _enveloped(message_id, key_field, key, tag_of(type(message)), now_ms, _fields_of(message, key_field))


def encode_envelope(message_id: str, key_field: str, key: str, event_type: str, now_ms: int, data: bytes) -> bytes:
    """The payload around `data`, which is JSON already."""
    return _enveloped(message_id, key_field, key, event_type, now_ms, msgspec.Raw(data))


def encode_data(message: Message, key_field: str) -> bytes:
    """The `data` of `message`: all its fields but the business key, and its version before them unless that is 1."""
    return _encode(_fields_of(message, key_field))


def _fields_of(message: Message, key_field: str) -> dict[str, object]:
    fields = msgspec.structs.asdict(message)
    fields.pop(key_field, None)
    version = version_of(type(message))
    return fields if version == 1 else {VERSION_FIELD: str(version), **fields}


def _enveloped(message_id: str, key_field: str, key: str, event_type: str, now_ms: int, data: object) -> bytes:
    return _encode(
        {"id": message_id, key_field: key, "event_type": event_type, "timestamp": _utc(now_ms), "data": data}
    )


@lru_cache(maxsize=1)
def _utc(now_ms: int) -> datetime:
    """All messages of a batch are written at the same time."""
    return datetime.fromtimestamp(now_ms / 1000, UTC)


def decode_envelope(payload: bytes, key_field: str, bytes_max: int = PAYLOAD_BYTES_MAX) -> Envelope | Undecodable:
    """The envelope in `payload`, whose business key stands under the name `key_field`."""
    if len(payload) > bytes_max:
        return Undecodable(f"payload of {len(payload)} bytes, at most {bytes_max} are read")
    try:
        wire = (_envelopes.get(key_field) or _envelope_reader(key_field)).read(payload, key_field)
    except DECODE_ERRORS as error:
        return Undecodable(f"envelope: {_brief(error)}")
    if wire.timestamp.tzinfo is None:
        return Undecodable("envelope: `timestamp` has no time zone; write it as 2025-01-31T12:00:00Z")
    data = bytes(wire.data) if wire.version is None else with_version(bytes(wire.data), wire.version)
    return Envelope(wire.id, getattr(wire, key_field), wire.event_type, wire.timestamp, data)


def decode_data(message_type: type[M], key_field: str, key: str, data: bytes) -> M | Undecodable:
    """The message of type `message_type` in `data`, its business key put back."""
    try:
        fields = read_data(message_type, key_field, data)
    except DECODE_ERRORS as error:
        return Undecodable(f"{tag_of(message_type)}: {_brief(error)}")
    if key_field in message_type.__struct_fields__:
        fields[key_field] = key
    try:
        return message_type(**fields)
    except Exception as error:  # the message's own check: whatever it raises, it says that this is none
        return Undecodable(f"{tag_of(message_type)}: {_brief(error)}")


def read_data(message_type: type[Message], key_field: str, data: bytes) -> dict[str, Any]:
    """The fields in the `data` of a message, without its business key. Raises one of `DECODE_ERRORS`."""
    return _read(message_type, _reader(message_type, key_field), data)


def _read(message_type: type[Message], reader: _Reader, data: bytes) -> dict[str, Any]:
    """The fields in `data`. Raises one of `DECODE_ERRORS`."""
    current = version_of(message_type)
    try:
        fields = _decoded(reader, data)
        if not reader.is_versioned:
            return fields
        said = fields.pop(_SAID)
        if said is None and message_type.__message_untagged__ == current:
            return fields
        if version_said(message_type, said) == current:
            return fields
    except DECODE_ERRORS:
        # An older shape need not be readable as this one: what it says of its version decides.
        if not reader.is_versioned:
            raise
        said = msgspec.json.decode(data, type=_Said).version
        if version_said(message_type, said) == current:
            raise
    fields = _decoded(reader, raise_version(message_type, data, version_said(message_type, said)))
    fields.pop(_SAID, None)
    return fields


def _decoded(reader: _Reader, data: bytes) -> dict[str, Any]:
    body = reader.decoder.decode(data)
    refuse_excess(body, data, is_loose=reader.is_loose)
    return msgspec.structs.asdict(body)


def _envelope_reader(key_field: str) -> _EnvelopeReader:
    if key_field in _Wire.__struct_fields__:
        raise MessageError("envelope", f"has the business key {key_field!r}", "the envelope has that field already")
    checked = msgspec.defstruct("Envelope", [(key_field, Key)], bases=(_Wire,), frozen=True, kw_only=True)
    unchecked = msgspec.defstruct("Envelope", [(key_field, _Short)], bases=(_Unchecked,), frozen=True, kw_only=True)
    reader = _envelopes[key_field] = _EnvelopeReader(
        msgspec.json.Decoder(cast("type[_Wire]", checked)), msgspec.json.Decoder(cast("type[_Unchecked]", unchecked))
    )
    return reader


def _reader(message_type: type[Message], key_field: str) -> _Reader:
    known = _readers.get((message_type, key_field))
    if known is None:
        problem = chain_problem(message_type)
        if problem is not None:
            raise MessageError(message_type.__name__, *problem)
        fields: list[tuple[str, Any, Any]] = [
            (f.name, f.type, _default(f)) for f in msgspec.structs.fields(message_type) if f.name != key_field
        ]
        is_versioned = not is_unversioned(message_type)
        if is_versioned:
            fields.append((_SAID, _Version, None))
        body = msgspec.defstruct(
            message_type.__name__, fields, frozen=True, kw_only=True, rename={_SAID: VERSION_FIELD}
        )
        known = _readers[message_type, key_field] = _Reader(msgspec.json.Decoder(body), needs_walk(body), is_versioned)
    return known


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return msgspec.field(name=field.encode_name, default=field.default)


def _brief(error: Exception) -> str:
    # Bounded: the text of an error quotes its input, and it ends up in a row, a log and a terminal.
    return told(error)[:240]
