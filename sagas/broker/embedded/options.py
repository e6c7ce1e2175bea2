"""The options of a topic, as a client sends them with `create_topic` and as they are echoed.

A block of pairs, key and value, each with a kind, a length and bytes. Keys that this server does not know are
refused, as by Iggy: an option that is silently ignored is a promise broken.
"""

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
    """Read a block of options. Refuses an unknown key, and a block that does not add up."""
    reader = BodyReader(block)
    found: dict[str, bytes] = {}
    while reader.left:
        key = _field(reader).decode(errors="replace")
        if key not in _KNOWN:
            raise Refusal(Status.UNSUPPORTED_OPTION, f"topic option {key!r} is not known")
        found[key] = _field(reader)
    expiry = int.from_bytes(found.get("message_expiry", b""), "little")
    size_max = int.from_bytes(found.get("max_topic_size", b""), "little")
    return TopicOptions(
        # 0 stands for the server's default, which is to keep everything.
        message_expiry_us=expiry or _NEVER,
        size_max=size_max or _NEVER,
        segment_size=int.from_bytes(found.get("segment_size", b""), "little") or None,
        compression=_COMPRESSIONS.get(found.get("compression_algorithm", b"none"), 1),
        is_durable=found.get("durability") == b"persisted",
        is_offset_durable=found.get("consumer_offset_durability") == b"persisted",
    )


def _field(reader: BodyReader) -> bytes:
    reader.u8()
    return reader.take(reader.u32())
