"""The options of a topic, as a client sends them with `create_topic` and as they are echoed.

A block of pairs, key and value, each with a kind, a length and bytes. Keys that this server does not know are
refused, as by Iggy: an option that is silently ignored is a promise broken. So is what no client writes: a block is
kept as it is, in a record of bounded size and in replies.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from sagas.broker.embedded.frames import BodyReader
from sagas.broker.log import Refusal, Status

_KNOWN: Final = frozenset(
    {
        "compression_algorithm",
        "consumer_offset_durability",
        "durability",
        "max_topic_size",
        "message_expiry",
        "messages_required_to_save",
        "preallocate_segments",
        "segment_size",
        "size_of_messages_required_to_save",
    }
)
_NEVER: Final = 2**64 - 1
_FIELD_BYTES_MAX: Final = 255
_NUMBER_BYTES_MAX: Final = 8
_COMPRESSIONS: Final = {b"none": 1, b"gzip": 2}


class TopicOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that this server acts on or reports; those missing have the defaults of a topic without any."""

    message_expiry_us: int = _NEVER
    segment_size: int | None = None
    """None: this server's own."""
    size_max: int = _NEVER
    compression: int = 1
    is_durable: bool = False
    """Whether a send is acknowledged only when it is on the disk."""
    is_offset_durable: bool = False

    @property
    def expiry_us(self) -> int | None:
        """How long a message is kept, None for ever."""
        return None if self.message_expiry_us == _NEVER else self.message_expiry_us


@lru_cache(maxsize=256)
def parse_options(block: bytes) -> TopicOptions:
    """Read a block of options. Refuses an unknown key or one that comes twice, and a block that does not add up."""
    reader = BodyReader(block)
    found: dict[str, bytes] = {}
    while reader.left:
        key = _field(reader).decode(errors="replace")
        if key not in _KNOWN:
            raise Refusal(Status.UNSUPPORTED_OPTION, f"topic option {key!r} is not known")
        if key in found:
            raise Refusal(Status.INVALID_FORMAT, f"topic option {key!r} is given twice")
        found[key] = _field(reader)
    expiry = _number(found, "message_expiry")
    size_max = _number(found, "max_topic_size")
    return TopicOptions(
        # 0 stands for the server's default, which is to keep everything.
        message_expiry_us=expiry or _NEVER,
        size_max=size_max or _NEVER,
        segment_size=_number(found, "segment_size") or None,
        compression=_COMPRESSIONS.get(found.get("compression_algorithm", b"none"), 1),
        is_durable=found.get("durability") == b"persisted",
        is_offset_durable=found.get("consumer_offset_durability") == b"persisted",
    )


def _field(reader: BodyReader) -> bytes:
    reader.u8()
    size = reader.u32()
    if not 1 <= size <= _FIELD_BYTES_MAX:
        raise Refusal(Status.INVALID_FORMAT, f"a topic option of {size} bytes: 1 to {_FIELD_BYTES_MAX} can be read")
    return reader.take(size)


def _number(found: Mapping[str, bytes], key: str) -> int:
    value = found.get(key, b"")
    if len(value) > _NUMBER_BYTES_MAX:
        raise Refusal(Status.INVALID_FORMAT, f"topic option {key!r}: a number of {len(value)} bytes")
    return int.from_bytes(value, "little")
