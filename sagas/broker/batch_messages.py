"""Messages in batches as Iggy lays them out, to and from ours: for requests that carry whole batches.

A frame is a header of 48 bytes, the payload, and the user headers, which are pairs of fields: a byte of kind, four of
length, and the value. We write texts only; others may write numbers, which are read as their text. What the client
would not read is not read here either.

Theory of operation. The headers of a topic's messages are mostly alike but for their values, and these are of the same
lengths: names of steps and ids. So what lies between the values of a block of headers is remembered by the topic and
the block's size. A block that is alike is taken apart at once, and any other field by field.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite
from struct import Struct, error
from typing import Final, NamedTuple

from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from sagas.broker.batches import BATCH_HEADER_SIZE, MESSAGE_HEADER_SIZE, BatchHeader, read_header
from sagas.broker.outgoing import HEADER_BYTES_MAX, checked_headers, checked_payload, message_id
from sagas.core.ids import spelled
from sagas.records import Incoming, Outgoing

_CHECKED = Struct("<16sIIIIQ")
_FRAME = Struct("<8x16sI4xII8x")
_FIELD = Struct("<BI")
_CHECKSUM = Struct("<Q")
_FIELD_SIZE: Final = _FIELD.size
_SIZES: Final = tuple(size.to_bytes(4, "little") for size in range(HEADER_BYTES_MAX + 1))
_FEW: Final = 100
"""As many headers cannot be too long together."""
_LAYOUTS_MAX: Final = 32
"""Remembered of a topic: who sends headers of ever other lengths has them read field by field."""
_LAYOUT_BYTES_MAX: Final = 1_024
"""Of headers that are remembered. Ours have some 150; a block can be a hundred thousand, and would stay for ever."""
_TEXT: Final = 2
_SIGNED: Final = range(4, 9)
_UNSIGNED: Final = range(9, 14)
_BYTES_OF: Final = {3: 1, 14: 4, 15: 8} | {first + n: 2**n for first in (4, 9) for n in range(5)}
"""Of kinds that have a fixed size."""


class _Layout(NamedTuple):
    """A block of headers but for the values: how it is parted, what lies before each value, and the names."""

    part: Callable[[bytes, int], tuple[bytes, ...]]
    between: tuple[bytes, ...]
    names: tuple[str, ...]


def encode_batch(messages: Sequence[Outgoing]) -> bytes:
    """A batch to be sent. Raises BrokerError naming the message that Iggy would refuse."""
    checksums: list[bytes] = []
    frames: list[bytes] = []
    for number, message in enumerate(messages):
        payload = checked_payload(message)
        headers = _encode_headers(message)
        head = _CHECKED.pack(message_id(message).to_bytes(16, "little"), number, 0, len(headers), len(payload), 0)
        checked = b"".join((head, payload, headers))
        checksum = _CHECKSUM.pack(xxh3_64_intdigest(checked))
        checksums.append(checksum)
        frames += (checksum, checked)
    body = b"".join(frames)
    header = BatchHeader(
        partition_id=0,
        base_offset=0,
        base_timestamp=0,
        origin_timestamp=0,
        length=BATCH_HEADER_SIZE + len(body),
        count=len(messages),
    )
    return header.seal(b"".join(checksums)) + body


def decode_batches(topic: str, partition: int, data: bytes) -> list[Incoming]:
    """The messages of batches that lie end to end. Raises BadBatch, and struct.error, for what are none.

    Headers that cannot be read are a defect of their message, never an error: the partition goes on.
    """
    found: list[Incoming] = []
    layouts = _layouts_of(topic)
    at = 0
    while at < len(data):
        batch = read_header(data, at)
        end = at + batch.length
        at += BATCH_HEADER_SIZE
        timestamp_ms = batch.base_timestamp // 1000
        while at < end:
            message_id, delta, headers_size, payload_size = _FRAME.unpack_from(data, at)
            at += MESSAGE_HEADER_SIZE
            headers_at = at + payload_size
            payload = data[at:headers_at]
            at = headers_at + headers_size
            headers: dict[str, str] = {}
            defect = ""
            if headers_size:
                try:
                    headers = _read_headers(layouts, data, headers_at, at)
                except (ValueError, KeyError, error) as failed:
                    defect = f"headers: {str(failed)[:200]}"
            found.append(
                Incoming(
                    id=spelled(message_id[::-1]),
                    topic=topic,
                    partition=partition,
                    offset=batch.base_offset + delta,
                    timestamp_ms=timestamp_ms,
                    payload=payload,
                    headers=headers,
                    defect=defect,
                )
            )
    return found


def _encode_headers(message: Outgoing) -> bytes:
    """The user headers. Raises BrokerError when Iggy would refuse one."""
    headers = message.headers
    pieces: list[bytes] = []
    if len(headers) > _FEW:
        headers = checked_headers(message)
    try:
        for name, field in _fields(tuple(headers)):
            value = headers[name].encode()
            if value:  # the others cannot be carried
                pieces += (field, _SIZES[len(value)], value)
    except (ValueError, IndexError):
        # Either it says which cannot be sent, or that one has no value and stays here.
        return _encode_headers(replace(message, headers=checked_headers(message)))
    return b"".join(pieces)


@lru_cache(maxsize=512)
def _fields(names: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
    """Names of headers in the order in which they are sent, with their fields and the kind of the value behind it.

    Raises ValueError when one has a length that cannot be sent.
    """
    encoded = [(name, name.encode()) for name in sorted(names)]
    if not all(1 <= len(value) <= HEADER_BYTES_MAX for _, value in encoded):
        raise ValueError("the name of a header is too long, or empty")
    return tuple((name, _FIELD.pack(_TEXT, len(value)) + value + bytes((_TEXT,))) for name, value in encoded)


@lru_cache(maxsize=256)
def _layouts_of(_topic: str) -> dict[int, _Layout]:
    """Layouts of the headers in a topic, by their size in bytes."""
    return {}


def _read_headers(layouts: dict[int, _Layout], data: bytes, at: int, end: int) -> dict[str, str]:
    """The user headers of a message. Raises ValueError, KeyError or struct.error for what are none."""
    layout = layouts.get(end - at)
    if layout is not None:
        parts = layout.part(data, at)
        if parts[::2] == layout.between:
            return dict(zip(layout.names, map(bytes.decode, parts[1::2]), strict=True))
    headers = _decode_headers(data, at, end)
    if layout is None and len(layouts) < _LAYOUTS_MAX and end - at <= _LAYOUT_BYTES_MAX:
        learned = _layout(data, at, end)
        if learned is not None:
            layouts[end - at] = learned
    return headers


def _layout(data: bytes, at: int, end: int) -> _Layout | None:
    """The layout of headers that can be read; None unless all of their names and values are texts."""
    between: list[bytes] = []
    sizes: list[int] = []
    names: list[str] = []
    while at < end:
        value_at = at + _FIELD_SIZE + _FIELD.unpack_from(data, at)[1]
        value_kind, size = _FIELD.unpack_from(data, value_at)
        if data[at] != _TEXT or value_kind != _TEXT:
            return None
        names.append(data[at + _FIELD_SIZE : value_at].decode())
        between.append(data[at : value_at + _FIELD_SIZE])
        sizes.append(size)
        at = value_at + _FIELD_SIZE + size
    form = "".join(f"{len(before)}s{size}s" for before, size in zip(between, sizes, strict=True))
    return _Layout(Struct(form).unpack_from, tuple(between), tuple(names))


def _decode_headers(data: bytes, at: int, end: int) -> dict[str, str]:
    """The same, field by field."""
    headers: dict[str, str] = {}
    while at < end:
        kind, size = _FIELD.unpack_from(data, at)
        at += _FIELD_SIZE
        name = data[at : at + size]
        at += size
        value_kind, value_size = _FIELD.unpack_from(data, at)
        at += _FIELD_SIZE
        value = data[at : at + value_size]
        at += value_size
        if at > end:
            raise ValueError("a field is cut off")
        if not (1 <= size <= HEADER_BYTES_MAX and 1 <= value_size <= HEADER_BYTES_MAX):
            raise ValueError(f"a field has 1 to {HEADER_BYTES_MAX} bytes: {size}, {value_size}")
        headers[_text(name) if kind == _TEXT else _value(kind, name)] = (
            value.decode() if value_kind == _TEXT else _value(value_kind, value)
        )
    return headers


@lru_cache(maxsize=512)
def _text(encoded: bytes) -> str:
    return encoded.decode()


def _value(kind: int, value: bytes) -> str:
    """A field that need not be a text, as one. Raises ValueError, and KeyError for a kind that is none."""
    if len(value) != _BYTES_OF.get(kind, len(value)):
        raise ValueError(f"a field of kind {kind} has {_BYTES_OF[kind]} bytes, not {len(value)}")
    if kind in _SIGNED or kind in _UNSIGNED:
        return str(int.from_bytes(value, "little", signed=kind in _SIGNED))
    return _OTHERS[kind](value)


_OTHERS: Final[dict[int, Callable[[bytes], str]]] = {
    1: bytes.decode,
    _TEXT: bytes.decode,
    3: lambda value: "true" if any(value) else "false",
    14: lambda value: _finite(Struct("<f").unpack(value)[0]),
    15: lambda value: _finite(Struct("<d").unpack(value)[0]),
}


def _finite(number: float) -> str:
    if not isfinite(number):
        raise ValueError(f"a number that is {number}")
    return str(number)
