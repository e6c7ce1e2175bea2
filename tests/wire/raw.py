"""A client made of plain bytes: it says exactly what a test wants to be said, and can say it wrongly."""

import socket
import struct
from types import TracebackType
from typing import Self

from xxhash import xxh3_64_intdigest

LOGIN = 1
READ = 2
SEND = 160
STORE_OFFSET = 161
CREATE_STREAM = 128
CREATE_TOPIC = 132

PING = 1
POLL = 100
GET_OFFSET = 120
GET_TOPIC = 300

OPTION_PERSISTED = b"".join(
    struct.pack("<BI", 2, len(text)) + text
    for key in (b"consumer_offset_durability", b"durability")
    for text in (key, b"persisted")
)


def login_body(user: bytes = b"iggy", password: bytes = b"iggy") -> bytes:
    """The body that the client of version 0.9.0 sends, as captured from it."""
    names = b"\x08rust-sdk\x060.11.0" + bytes((len(user),)) + user + bytes((len(password),)) + password
    return bytes.fromhex("002c0000") + names + bytes(4)


def ident(name: str) -> bytes:
    """A name, as requests carry it."""
    return bytes((2, len(name))) + name.encode()


def frame(operation: int, body: bytes = b"", *, code: int = 0, number: int = 0, command: int = 5) -> bytes:
    """A request's frame."""
    header = bytearray(256)
    struct.pack_into("<I", header, 48, 256 + len(body))
    header[60] = command
    header[128:144] = bytes(range(16))
    struct.pack_into("<Q", header, 168, number)
    header[176] = operation
    struct.pack_into("<I", header, 196, code)
    return bytes(header) + body


def batch(*payloads: bytes) -> bytes:
    """A batch as a client sends it."""
    messages: list[bytes] = []
    for delta, payload in enumerate(payloads):
        rest = struct.pack("<16sIIIIQ", delta.to_bytes(16, "little"), delta, 0, 0, len(payload), 0) + payload
        messages.append(struct.pack("<Q", xxh3_64_intdigest(rest)) + rest)
    frames = b"".join(messages)
    checksums = b"".join(message[:8] for message in messages)
    fields = (0, 0, 0, 1_700_000_000_000_000, 256 + len(frames))
    checksum = xxh3_64_intdigest(struct.pack("<QQQQQI", *fields, len(payloads)) + checksums)
    return struct.pack("<QQQQQQI204x", *fields, checksum, len(payloads)) + frames


def send_body(stream: str, topic: str, partition: int, *payloads: bytes) -> bytes:
    """The body of a send."""
    metadata = ident(stream) + ident(topic) + struct.pack("<BBII", 2, 4, partition, len(payloads))
    return struct.pack("<I", len(metadata)) + metadata + batch(*payloads)


def target(consumer: str, stream: str, topic: str, partition: int) -> bytes:
    """Who reads what: the head of polls and of everything about offsets."""
    return b"\x01" + ident(consumer) + ident(stream) + ident(topic) + struct.pack("<BI", 1, partition)


class RawClient:
    """A logged-in connection. Calls raise OSError when the broker is gone."""

    def __init__(self, port: int, *, is_logged_in: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_logged_in:
            assert self.call(LOGIN, login_body())[0] == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def call(self, operation: int, body: bytes = b"", *, code: int = 0) -> tuple[int, bytes]:
        """Send a request and wait for its reply: the status and the body."""
        self.send(operation, body, code=code)
        return self.reply()

    def send(self, operation: int, body: bytes = b"", *, code: int = 0) -> None:
        """Send a request."""
        self.socket.sendall(frame(operation, body, code=code))

    def reply(self) -> tuple[int, bytes]:
        """The next reply: the status and the body."""
        header = self._take(256)
        size, status = struct.unpack_from("<I", header, 48)[0], struct.unpack_from("<I", header, 216)[0]
        return status, self._take(size - 256)

    def payloads(self, stream: str, topic: str, partition: int, first: int = 0, count: int = 10**6) -> list[bytes]:
        """The payloads of a partition from offset `first` on."""
        strategy = struct.pack("<BQIB", 1, first, count, 0)
        status, body = self.call(READ, target("reader", stream, topic, partition) + strategy, code=POLL)
        assert status == 0, status
        found: list[bytes] = []
        at = 16
        while at < len(body):
            end = at + struct.unpack_from("<Q", body, at + 32)[0]
            at += 256
            while at < end:
                headers_size, size = struct.unpack_from("<II", body, at + 32)
                found.append(body[at + 48 : at + 48 + size])
                at += 48 + size + headers_size
        assert len(found) == struct.unpack_from("<I", body, 12)[0]
        return found

    def stored_offset(self, consumer: str, stream: str, topic: str, partition: int) -> int | None:
        """The offset that a consumer stored."""
        status, body = self.call(READ, target(consumer, stream, topic, partition), code=GET_OFFSET)
        assert status == 0, status
        return int(struct.unpack_from("<Q", body, 12)[0]) if body else None

    def _take(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            piece = self.socket.recv(size - len(taken))
            if not piece:
                raise ConnectionResetError("the broker closed the connection")
            taken += piece
        return bytes(taken)
