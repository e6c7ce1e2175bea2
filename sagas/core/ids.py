"""Derived ids that sort by time.

Theory of operation. Every id is derived, never drawn: whoever decides again decides the same id, so
a repeat is recognisable as one. An instance's id carries the millisecond it was created in as its
first 48 bits (the layout of UUID version 7, RFC 9562 section 5.7) and a hash of saga and business
key in the rest. The ids of its commands and replies keep those 48 bits and hash the rest from their
parent, so that all rows of an instance lie side by side in every index: random keys would halve
throughput at a million stored instances (measured; DESIGN.md, "Ids").
"""

import re
from hashlib import blake2b
from uuid import UUID

_CANONICAL = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

_TIME_BITS = 48
_RANDOM_BITS = 128 - _TIME_BITS
_VERSION_AND_VARIANT_CLEARED = ~((0xF << 76) | (0x3 << 62))
_VERSION_7_VARIANT_RFC = (0x7 << 76) | (0x2 << 62)


def instance_id(saga: str, key: str, now_ms: int) -> str:
    """The id of the instance that `saga` has for the business key `key`, created at `now_ms`."""
    return _uuid7(now_ms, f"{saga}\0{key}")


def is_instance_id(text: str) -> bool:
    """Whether `text` is an id as `instance_id` writes it: a UUID has many spellings, an instance one id."""
    return _CANONICAL.match(text) is not None


def first_id_at(time_ms: int) -> str:
    """An id that sorts before all that were made at `time_ms` or later, and behind all that were made earlier."""
    return text_of(min(max(0, time_ms), (1 << _TIME_BITS) - 1) << _RANDOM_BITS)


def time_of(text: str) -> int:
    """The millisecond that an id of ours begins with: of an instance and all that belongs to it, when it began."""
    return number_of(text) >> _RANDOM_BITS


def derived_id(parent: str, *parts: str) -> str:
    """The id of something that belongs to `parent`: the same parts give the same id, for ever.

    `parent` is a UUID in its text form; raises ValueError when it is not.
    """
    return _uuid7(number_of(parent) >> _RANDOM_BITS, "\0".join((parent, *parts)))


def number_of(text: str) -> int:
    """The 128 bits of a UUID in its text form; raises ValueError when it is none. Without an object: ids are many."""
    return int(text.replace("-", ""), 16) if _CANONICAL.match(text) else UUID(text).int


def text_of(number: int) -> str:
    """The UUID with these 128 bits, in its text form."""
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timed_id(time_ms: int, *parts: str) -> str:
    """The id of something that happened at `time_ms` and has no parent: the same parts give the same id."""
    return _uuid7(time_ms, "\0".join(parts))


def _uuid7(time_ms: int, seed: str) -> str:
    hashed = int.from_bytes(blake2b(seed.encode(errors="replace"), digest_size=10).digest())
    value = (time_ms & ((1 << _TIME_BITS) - 1)) << _RANDOM_BITS | hashed
    return text_of(value & _VERSION_AND_VARIANT_CLEARED | _VERSION_7_VARIANT_RFC)
