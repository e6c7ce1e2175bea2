"""Frames and primitives of Iggy's TCP protocol (binary protocol 0.11). Sans-IO: bytes in, records out.

Every frame, both ways, is a header of 256 bytes and a body; the header says the size of both together.
Numbers are little-endian. A client has one request under way at a time and matches replies by their order.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

import msgspec

from sagas.broker.log import Ident, Refusal, Status

HEADER_SIZE: Final = 256
FRAME_SIZE_MAX: Final = 64 * 1024 * 1024
"""A larger frame is refused, as by Iggy: its size alone would be memory given away to a stranger."""

COMMAND_REQUEST: Final = 5
COMMAND_REPLY: Final = 8
COMMAND_EVICTION: Final = 13
EVICTED_CREDENTIALS: Final = 9
"""The reason in an eviction frame that the client reads as `Invalid credentials`."""

OPERATION_LOGIN: Final = 1
OPERATION_READ: Final = 2
OPERATION_LOGOUT: Final = 3
OPERATION_SEND: Final = 160
_RESULT_FRAMED: Final = frozenset({OPERATION_LOGIN, *range(128, 138), *range(139, 150), 161, 162})
"""Operations whose reply begins with a list of results; an empty list means success."""
_NO_ERRORS: Final = bytes(4)

_REQUEST = Struct("<48xI8xB67x16s16s8xQB7xQ4xI56x")
_REPLY = Struct("<48xI8xB67x16s16x16s24xQB7xI36x")
_EVICTION = Struct("<48xI8xB67x16s111xB")
_U32 = Struct("<I")
_U64 = Struct("<Q")
assert _REQUEST.size == _REPLY.size == _EVICTION.size == HEADER_SIZE


class BadFrame(Exception):
    """What came is no frame: the place of the next one is unknown, so the connection has to go."""


class Request(msgspec.Struct, frozen=True):
    """One request. `client` and `checksum` are echoed as they came; `code` counts for operation READ only."""

    operation: int
    code: int
    number: int
    session: int
    client: bytes
    checksum: bytes
    body: bytes


class FrameReader:
    """Cuts a stream of bytes into requests."""

    def __init__(self) -> None:
        self._frames = _Frames(_REQUEST, COMMAND_REQUEST)

    def feed(self, data: bytes) -> Iterator[Request]:
        """The requests that are complete now. Raises BadFrame; then nothing that follows can be read."""
        for (_, _, client, checksum, number, operation, session, code), body in self._frames.feed(data):
            yield Request(operation, code, number, session, client, checksum, body)


def encode_reply(request: Request, *body: bytes, status: Status = Status.OK) -> bytes:
    """The reply to `request`; a refusal has no body. The pieces of a body are joined here, and copied only once."""
    pieces = body if status is Status.OK else ()
    if status is Status.OK and request.operation in _RESULT_FRAMED:
        pieces = (_NO_ERRORS, *body)
    header = _REPLY.pack(
        HEADER_SIZE + sum(map(len, pieces)),
        COMMAND_REPLY,
        request.checksum,
        request.client,
        request.number,
        request.operation,
        status,
    )
    return b"".join((header, *pieces))


class Reply(msgspec.Struct, frozen=True):
    """What came back for a request."""

    status: int
    body: bytes


def encode_request(
    operation: int, code: int, body: bytes, *, client: bytes, number: int = 0, session: int = 0
) -> bytes:
    """A request: what a client sends. `code` counts for operation READ only; `client` are 16 bytes of its own."""
    size = HEADER_SIZE + len(body)
    return _REQUEST.pack(size, COMMAND_REQUEST, client, bytes(16), number, operation, session, code) + body


class ReplyReader:
    """Cuts a stream of bytes into replies."""

    def __init__(self) -> None:
        self._frames = _Frames(_REPLY, COMMAND_REPLY)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that are complete now. Raises BadFrame, also for an eviction: nothing follows it."""
        for fields, body in self._frames.feed(data):
            yield Reply(fields[-1], body)


class _Frames:
    """Cuts a stream of bytes into headers and bodies."""

    def __init__(self, header: Struct, command: int) -> None:
        self._header = header
        self._command = command
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[tuple[Any, ...], bytes]]:
        """The fields of each header that has come with its body, and the body. Raises BadFrame."""
        if not self._buffer and len(data) >= HEADER_SIZE:
            fields = self._fields(data)
            if fields[0] == len(data):
                # What comes nearly always: one frame and nothing else, which need not be gathered.
                yield fields, data[HEADER_SIZE:]
                return
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            fields = self._fields(self._buffer)
            size = fields[0]
            if len(self._buffer) < size:
                return
            with memoryview(self._buffer) as view:
                body = bytes(view[HEADER_SIZE:size])
            del self._buffer[:size]
            yield fields, body

    def _fields(self, data: bytes | bytearray) -> tuple[Any, ...]:
        fields = self._header.unpack_from(data)
        size, command = fields[0], fields[1]
        if command != self._command or not HEADER_SIZE <= size <= FRAME_SIZE_MAX:
            raise BadFrame(
                f"command {command}, size {size}: expected command {self._command} and at most {FRAME_SIZE_MAX} bytes"
            )
        return fields


def encode_eviction(request: Request, reason: int) -> bytes:
    """The frame that turns a login away."""
    return _EVICTION.pack(HEADER_SIZE, COMMAND_EVICTION, request.client, reason)


# --------------------------------------------------------------------------- primitives


def u32(value: int) -> bytes:
    """A number of 4 bytes."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """A number of 8 bytes."""
    return _U64.pack(value)


def name8(text: str) -> bytes:
    """A text of at most 255 bytes with its length before it."""
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def text32(text: str) -> bytes:
    """A text with its length as 4 bytes before it."""
    encoded = text.encode()
    return _U32.pack(len(encoded)) + encoded


class BodyReader:
    """Reads a request's body from front to back; whatever does not fit is refused with INVALID_FORMAT."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._at + size
        if end > len(self._body):
            raise Refusal(Status.INVALID_FORMAT, f"{size} bytes at {self._at} are beyond the end of the body")
        taken = self._body[self._at : end]
        self._at = end
        return taken

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._body) - self._at

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self.left)

    def finish(self) -> None:
        """Refuses when anything is left."""
        if self.left:
            raise Refusal(Status.INVALID_FORMAT, f"{self.left} bytes too many")

    def u8(self) -> int:
        """A number of 1 byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """A number of 4 bytes."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """A number of 8 bytes."""
        return int.from_bytes(self.take(8), "little")

    def name8(self) -> str:
        """A text with its length in one byte before it; an empty one is refused."""
        size = self.u8()
        if size == 0:
            raise Refusal(Status.INVALID_FORMAT, "an empty name")
        return _text(self.take(size))

    def ident(self) -> Ident:
        """What names a stream, topic, group or consumer."""
        kind, size = self.u8(), self.u8()
        value = self.take(size)
        if kind == 1 and size == 4:
            return int.from_bytes(value, "little")
        if kind == 2 and size > 0:
            return _text(value)
        raise Refusal(Status.INVALID_FORMAT, f"an identifier of kind {kind} with {size} bytes")

    def ident_bytes(self) -> bytes:
        """What names a stream or a topic, as it stands there: it is understood only where it is needed."""
        return self.take(2 + (self._body[self._at + 1] if self.left > 1 else 0))

    def spelled(self) -> bytes:
        """A topic and the number of a partition, as they stand there."""
        return self.take(6 + (self._body[self._at + 1] if self.left > 1 else 0))

    def spelled_offsets(self, count_max: int) -> Iterator[tuple[bytes, int]]:
        """Everything that is left: topics with the number of a partition, as they stand there, and an offset each."""
        body, at, size = self._body, self._at, len(self._body)
        for _ in range(count_max):
            if at >= size:
                break
            end = at + 6 + (body[at + 1] if at + 1 < size else 0)
            if end + 8 > size:
                raise Refusal(Status.INVALID_FORMAT, f"a partition at {at} is beyond the end of the body")
            yield body[at:end], int.from_bytes(body[end : end + 8], "little")
            at = end + 8
        self._at = at
        if at < size:
            raise Refusal(Status.INVALID_FORMAT, f"more than {count_max} partitions in one request")

    def optional_u32(self) -> int | None:
        """A number that may be absent; it takes its place all the same."""
        is_present, value = self.u8(), self.u32()
        return value if is_present else None


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise Refusal(Status.INVALID_FORMAT, f"text that is not UTF-8: {error}") from error
