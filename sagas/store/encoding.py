"""How ids and nested records are stored.

A UUID in its canonical text form is stored as its 16 bytes, any other text as text: the column type
ANY of a STRICT table keeps the two apart, so that both come back as they went in. Sixteen instead of 36
bytes in every key let the indexes fit into memory for longer. Nested records are
MessagePack with field names, so that a field can be added to a record without touching stored rows.

What is bound as a BLOB is a `bytearray`, never `bytes`: the driver takes a bytearray as it is, but
first searches for an adapter for bytes (and for bool), at 1.3 µs a parameter against 0.1 (measured).
A step binds some seventeen of them.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import msgspec

from sagas.errors import StoreError

StoredId = bytes | bytearray | str

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_IDS_REMEMBERED = 8_192
"""One step packs its instance's id six times and a message's three times; a batch has at most thousands."""

T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode
"""A record as MessagePack, not bound yet."""

blob = bytearray
"""Bytes as they are bound to a BLOB column."""


def pack(record: object) -> bytearray:
    """A record, or anything built of records, as MessagePack."""
    return blob(encode(record))


@lru_cache(maxsize=_IDS_REMEMBERED)
def pack_id(text: str) -> StoredId:
    """What is stored for the id `text`. Not to be changed: the next caller is given the same object."""
    return blob.fromhex(text.replace("-", "")) if _UUID.fullmatch(text) else text


def unpack_id(stored: StoredId) -> str:
    """The id that `stored` stands for."""
    if isinstance(stored, str):
        return stored
    text = stored.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


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
