"""Derived ids that sort by time.

Theory of operation. Every id is derived, never drawn: whoever decides again decides the same id, so
a repeat is recognisable as one. An instance's id carries the millisecond it was created in as its
first 48 bits (the layout of UUID version 7, RFC 9562 section 5.7) and a hash of saga and business
key in the rest. The ids of its commands and replies keep those 48 bits and hash the rest from their
parent, so that all rows of an instance lie side by side in every index: random keys would halve
throughput at a million stored instances (measured; DESIGN.md, "Ids").
"""

import re
from functools import lru_cache
from hashlib import blake2b
from uuid import UUID

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_REMEMBERED = 8_192
"""One step asks for its instance's id a dozen times, for a message's three times; a batch has at most thousands."""

_LENGTH = 36

_TIME_BITS = 48
_RANDOM_BITS = 128 - _TIME_BITS
_VERSION = "7"
_VARIANT_RFC = {digit: f"{int(digit, 16) & 0b0011 | 0b1000:x}" for digit in "0123456789abcdef"}
"""A hexadecimal digit with its two upper bits set to 10, which is the variant."""


def instance_id(saga: str, key: str, now_ms: int) -> str:
    """The id of the instance that `saga` has for the business key `key`, created at `now_ms`."""
    return _uuid7(_time_digits(now_ms), f"{saga}\0{key}")


def is_instance_id(text: str) -> bool:
    """Whether `text` is an id as `instance_id` writes it: a UUID has many spellings, an instance one id."""
    return isinstance(packed(text), bytearray)


def is_message_id(text: str) -> bool:
    """The same of a text of any length, which anybody may have written: a long one is not remembered."""
    return len(text) == _LENGTH and is_instance_id(text)


@lru_cache(maxsize=_REMEMBERED)
def packed(text: str) -> bytearray | str:
    """The 16 bytes of a UUID that is spelled as we spell it, any other text as it is.

    Not to be changed: the next caller is given the same object.
    """
    return bytearray.fromhex(text.replace("-", "")) if _CANONICAL.fullmatch(text) else text


def spelled(bits: bytes | bytearray) -> str:
    """The UUID with these 16 bytes, as we spell it."""
    # In groups of two bytes: the first two belong together, and the last three.
    text = bits.hex("-", 2)
    return f"{text[:4]}{text[5:29]}{text[30:34]}{text[35:]}"


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
    # An id of ours begins with its time already, in the digits that the child begins with.
    began = parent[:13] if isinstance(packed(parent), bytearray) else _time_digits(time_of(parent))
    return _uuid7(began, "\0".join((parent, *parts)))


def answer_id(command_id: str) -> str:
    """The id of the definite answer to a command, the same each time it is given."""
    return derived_id(command_id, "answer")


def number_of(text: str) -> int:
    """The 128 bits of a UUID in its text form; raises ValueError when it is none. Without an object: ids are many."""
    bits = packed(text) if len(text) == _LENGTH else text  # what is much longer is not to be remembered
    return int.from_bytes(bits) if isinstance(bits, bytearray) else UUID(text).int


def text_of(number: int) -> str:
    """The UUID with these 128 bits, in its text form."""
    return spelled(number.to_bytes(16))


def timed_id(time_ms: int, *parts: str) -> str:
    """The id of something that happened at `time_ms` and has no parent: the same parts give the same id."""
    return _uuid7(_time_digits(time_ms), "\0".join(parts))


def _time_digits(time_ms: int) -> str:
    """The first 13 characters of an id that begins with `time_ms`."""
    return text_of((time_ms & ((1 << _TIME_BITS) - 1)) << _RANDOM_BITS)[:13]


def _uuid7(time_digits: str, seed: str) -> str:
    """The id whose first 48 bits are written as `time_digits`, the rest being hashed from `seed`.

    Put together from text: a participant derives two ids a command, the orchestrator more, and going by way of the
    number costs twice as much.
    """
    h = blake2b(seed.encode(errors="replace"), digest_size=10).hexdigest()
    return f"{time_digits}-{_VERSION}{h[1:4]}-{_VARIANT_RFC[h[4]]}{h[5:8]}-{h[8:]}"
