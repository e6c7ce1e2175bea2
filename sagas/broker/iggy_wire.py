"""The few requests the client has no method for, byte by byte.

Offsets of a group, who owns which partition, and a topic made on a server that does not know the
options the client always sends. All integers are little-endian. A name is one byte of kind, one of
length and its UTF-8; a consumer is one byte of kind and a name; a partition is one byte saying that
it is there and four of number.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sagas.records import Partition

GET_NODES = 12
GET_ME = 20
GET_CLIENT = 21
GET_CLIENTS = 22
GET_OFFSET = 120
GET_STREAM = 200
STORE_OFFSET = 121
CREATE_TOPIC = 302
SYNC_GROUP = 606
READ_TOGETHER = 60_002
SEND_TOGETHER = 60_003
EACH = 60_004
SEND_AHEAD = 60_005
"""These four are none of Iggy's: the embedded broker has them (`embedded/together.py`)."""

_KIND_NUMBER = 1
_KIND_NAME = 2
_KIND_GROUP = 2
_KIND_STRING = 2
_OFFSETS = struct.Struct("<IQQ")
_SYNC_HEAD = struct.Struct("<QI")
_STREAM_HEAD = struct.Struct("<IQIQQ")
_TOPIC_HEAD = struct.Struct("<IQIQBQQQ")
_LENGTH = struct.Struct("<I")
_PLACE = struct.Struct("<II")
_CLIENT_HEAD = struct.Struct("<IIBI")
_GROUP = struct.Struct("<III")

Stamp = tuple[int, int]
"""Bytes and messages of a stream or a topic: as long as it is the same, nothing has come."""


class StoredOffset(NamedTuple):
    """Where a group stands in a partition. `current` is the last message's offset, 0 in an empty partition too."""

    current: int
    stored: int

    @property
    def is_at_zero(self) -> bool:
        """Whether only the number of messages can tell that the stored offset is of a message that is there."""
        return self.stored == self.current == 0

    def next_offset(self, *, is_empty: bool) -> int | None:
        """The offset to go on from, None when the log ends before the stored one; `is_empty` counts at zero only."""
        is_past_end = is_empty if self.is_at_zero else self.stored > self.current
        return None if is_past_end else self.stored + 1


class Share(NamedTuple):
    """What a member may poll of a topic; `generation` counts how often the group's partitions were dealt out."""

    generation: int
    partitions: tuple[int, ...]


@lru_cache(maxsize=512)
def name_bytes(name: str) -> bytes:
    """A stream, topic or group by name."""
    encoded = name.encode()
    return bytes((_KIND_NAME, len(encoded))) + encoded


def group_at(stream: str, topic: str, group: str) -> bytes:
    """The body of SYNC_GROUP."""
    return name_bytes(stream) + name_bytes(topic) + name_bytes(group)


def offset_of(stream: str, topic: str, group: str | int, partition: int) -> bytes:
    """The body of GET_OFFSET, and the beginning of STORE_OFFSET's. A group by its name, or by its number."""
    consumer = name_bytes(group) if isinstance(group, str) else struct.pack("<BBI", _KIND_NUMBER, 4, group)
    return bytes((_KIND_GROUP,)) + consumer + name_bytes(stream) + name_bytes(topic) + struct.pack("<BI", 1, partition)


def store_offset(stream: str, topic: str, group: str, partition: int, offset: int) -> bytes:
    """The body of STORE_OFFSET, to be answered once it is stored."""
    return offset_of(stream, topic, group, partition) + struct.pack("<QB", offset, 1)


def create_topic(stream: str, topic: str, partitions: int, options: dict[str, str]) -> bytes:
    """The body of CREATE_TOPIC; Iggy reads the values of options from text."""
    encoded = topic.encode()
    head = name_bytes(stream) + struct.pack("<IB", partitions, len(encoded)) + encoded
    return head + b"".join(_string(name) + _string(options[name]) for name in sorted(options))


def expiry_option(expiry_s: int) -> str:
    """The value of the option `message_expiry`; 0 is for ever."""
    return f"{expiry_s}s" if expiry_s else "unlimited"


def stream_at(stream: str) -> bytes:
    """The body of GET_STREAM."""
    return name_bytes(stream)


def read_stamp(reply: bytes) -> Stamp | None:
    """The stamp of the whole stream in the reply to GET_STREAM; None when there is no such stream."""
    if len(reply) < _STREAM_HEAD.size:
        return None
    _, _, _, size, messages = _STREAM_HEAD.unpack_from(reply)
    return size, messages


def read_topic_stamps(reply: bytes) -> dict[str, Stamp] | None:
    """The stamps of its topics by name, in the reply to GET_STREAM; None when it cannot be read."""
    stamps: dict[str, Stamp] = {}
    try:
        at = _behind_options(reply, _STREAM_HEAD.size + 1 + reply[_STREAM_HEAD.size])
        while at < len(reply):
            _, _, _, _, _, _, size, messages = _TOPIC_HEAD.unpack_from(reply, at)
            name = at + _TOPIC_HEAD.size
            end = name + 1 + reply[name]
            stamps[reply[name + 1 : end].decode()] = size, messages
            # The options that were asked for, and those that follow from them.
            at = _behind_options(reply, _behind_options(reply, end))
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    return stamps


def _behind_options(reply: bytes, at: int) -> int:
    length: int = _LENGTH.unpack_from(reply, at)[0]
    return at + _LENGTH.size + length


def read_number(reply: bytes) -> int:
    """The number of the connection that sent GET_ME."""
    number: int = _LENGTH.unpack_from(reply)[0]
    return number


def read_node_count(reply: bytes) -> int:
    """How many servers there are, in the reply to GET_NODES."""
    count: int = _LENGTH.unpack_from(reply, _behind_options(reply, 0))[0]
    return count


def read_clients_in_groups(reply: bytes) -> list[int]:
    """The numbers of the connections that are in any group, in the reply to GET_CLIENTS."""
    found: list[int] = []
    at = 0
    while at < len(reply):
        number, _, _, size = _CLIENT_HEAD.unpack_from(reply, at)
        at += _CLIENT_HEAD.size + size
        if _LENGTH.unpack_from(reply, at)[0]:
            found.append(number)
        at += _LENGTH.size
    return found


def read_groups_of_client(reply: bytes) -> list[tuple[int, int, int]]:
    """Stream, topic and number of each group that a connection is in, in the reply to GET_CLIENT."""
    if not reply:
        return []
    at = _CLIENT_HEAD.size + _CLIENT_HEAD.unpack_from(reply)[3]
    groups = [
        _GROUP.unpack_from(reply, at + _LENGTH.size + i * _GROUP.size) for i in range(_LENGTH.unpack_from(reply, at)[0])
    ]
    return [(stream, topic, group) for stream, topic, group in groups]


def read_together(
    stream: str, group: str, member: int, at_most_ms: int, count_max: int, wanted: Sequence[tuple[Partition, int]]
) -> bytes:
    """The body of READ_TOGETHER: which partitions are read, each with its offset."""
    head = name_bytes(stream) + name_bytes(group) + struct.pack("<III", member, at_most_ms, count_max)
    return head + b"".join(
        name_bytes(topic) + struct.pack("<IQ", partition, offset) for (topic, partition), offset in wanted
    )


def read_parts(reply: bytes) -> list[tuple[int, bytes]]:
    """The reply to READ_TOGETHER: batches by the place their partition had; or to EACH: bodies by their status."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(reply):
        place, size = _PLACE.unpack_from(reply, at)
        at += _PLACE.size
        found.append((place, reply[at : at + size]))
        at += size
    return found


def each(requests: Sequence[tuple[int, bytes]]) -> bytes:
    """The body of EACH: requests by their code."""
    return b"".join(_PLACE.pack(code, len(body)) + body for code, body in requests)


def send_together(stream: str, batches: Sequence[tuple[Partition, int, bytes]]) -> bytes:
    """The body of SEND_TOGETHER and of SEND_AHEAD: batches, each with its partition and its count."""
    pieces = [name_bytes(stream)]
    for (topic, partition), count, batch in batches:
        pieces += (name_bytes(topic), struct.pack("<III", partition, count, len(batch)), batch)
    return b"".join(pieces)


def read_offsets(reply: bytes) -> StoredOffset | None:
    """The reply to GET_OFFSET: None when the group has stored nothing there."""
    if not reply:
        return None
    _, current, stored = _OFFSETS.unpack(reply)
    return StoredOffset(current, stored)


def read_share(reply: bytes) -> Share | None:
    """The reply to SYNC_GROUP: what this connection may poll, None when it is no member."""
    if not reply:
        return None
    generation, count = _SYNC_HEAD.unpack_from(reply)
    return Share(generation, struct.unpack_from(f"<{count}I", reply, _SYNC_HEAD.size))


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<BI", _KIND_STRING, len(encoded)) + encoded
