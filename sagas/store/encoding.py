"""How ids and nested records are stored.

A UUID in its canonical text form is stored as its 16 bytes, any other text as text: the column type
ANY of a STRICT table keeps the two apart, so that both come back as they went in. Sixteen instead of 36
bytes in every key let the indexes fit into memory for longer. Nested records are
MessagePack with field names, so that a field can be added to a record without touching stored rows.

What is bound as a BLOB is a `bytearray`, never `bytes`: the driver takes a bytearray as it is, but
first searches for an adapter for bytes (and for bool), at 1.3 µs a parameter against 0.1 (measured).
A step binds some seventeen of them.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from sagas.core.ids import packed, spelled
from sagas.errors import StoreError

StoredId = bytes | bytearray | str

T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode
"""A record as MessagePack, not bound yet."""

blob = bytearray
"""Bytes as they are bound to a BLOB column."""


pack_id: Callable[[str], StoredId] = packed
"""What is stored for an id. Not to be changed: the next caller is given the same object."""


def pack(record: object) -> bytearray:
    """A record, or anything built of records, as MessagePack."""
    return blob(encode(record))


def unpack_id(stored: StoredId) -> str:
    """The id that `stored` stands for."""
    return stored if isinstance(stored, str) else spelled(stored)


def unpack(decoder: msgspec.msgpack.Decoder[T], stored: bytes, subject: str) -> T:
    """Decode a stored record; `subject` names it in the StoreError that is raised for one that cannot be read."""
    try:
        return decoder.decode(stored)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"the stored {subject} cannot be read ({error}): its row is damaged or a newer release wrote it; "
            "install the newer release, or restore a backup"
        ) from error


_headers = msgspec.msgpack.Decoder(dict[str, str])


def unpack_headers(stored: bytes) -> Mapping[str, str]:
    """The headers of a stored message."""
    return unpack(_headers, stored, "headers")
