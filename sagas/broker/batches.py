"""The batch: what a client sends, what lies on disk and what a poll returns, byte for byte the same.

A batch is a header of 256 bytes and its messages' frames without gaps. Each message carries a checksum of
itself, and the header one of its own fields and all those checksums, so a batch proves itself
wherever it lies. They are verified once, on arrival: a batch that does not add up would otherwise stop all
its readers, or be taken for a torn tail when the broker starts again. XXH3-64 throughout.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

BATCH_HEADER_SIZE: Final = 256
MESSAGE_HEADER_SIZE: Final = 48

_HEADER = Struct("<QQQQQQI204x")
_CHECKED = Struct("<QQQQQI")
_MESSAGE = Struct("<Q16xIIIIQ")


class BadBatch(Exception):
    """The bytes are no whole batch; the text says why."""


class BatchHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a batch's header. Times are microseconds; `length` counts the header too."""

    partition_id: int
    base_offset: int
    base_timestamp: int
    origin_timestamp: int
    length: int
    count: int
    checksum: int = 0

    def seal(self, checksums: bytes) -> bytes:
        """The header's bytes for messages with these checksums."""
        fields = (self.partition_id, self.base_offset, self.base_timestamp, self.origin_timestamp, self.length)
        checksum = xxh3_64_intdigest(_CHECKED.pack(*fields, self.count) + checksums)
        return _HEADER.pack(*fields, checksum, self.count)


def read_header(data: bytes | memoryview, at: int = 0) -> BatchHeader:
    """The header at `at`. Raises BadBatch when there is no room for one, or it makes no sense."""
    if len(data) - at < BATCH_HEADER_SIZE:
        raise BadBatch(f"{len(data) - at} bytes are too few for a header")
    partition_id, base, timestamp, origin, length, checksum, count = _HEADER.unpack_from(data, at)
    if length < BATCH_HEADER_SIZE or count < 1:
        raise BadBatch(f"length {length}, {count} messages")
    return BatchHeader(
        partition_id=partition_id,
        base_offset=base,
        base_timestamp=timestamp,
        origin_timestamp=origin,
        length=length,
        count=count,
        checksum=checksum,
    )


def verify_frames(frames: memoryview, count: int) -> bytes:
    """The checksums of `count` messages, end to end, after verifying each. Raises BadBatch."""
    checksums: list[memoryview] = []
    at = 0
    for number in range(count):
        if len(frames) - at < MESSAGE_HEADER_SIZE:
            raise BadBatch(f"message {number} of {count} is cut off")
        checksum, delta, _, headers_size, payload_size, reserved = _MESSAGE.unpack_from(frames, at)
        end = at + MESSAGE_HEADER_SIZE + headers_size + payload_size
        if end > len(frames) or delta != number or payload_size == 0 or reserved:
            raise BadBatch(f"message {number} of {count}: the header makes no sense")
        if xxh3_64_intdigest(frames[at + 8 : end]) != checksum:
            raise BadBatch(f"message {number} of {count}: the checksum does not fit")
        checksums.append(frames[at : at + 8])
        at = end
    if at != len(frames):
        raise BadBatch(f"{len(frames) - at} bytes after the last message")
    return b"".join(checksums)


def verify_batch(data: memoryview, at: int) -> BatchHeader:
    """The header of the whole, unharmed batch at `at`. Raises BadBatch."""
    header = read_header(data, at)
    end = at + header.length
    if end > len(data):
        raise BadBatch(f"{end - len(data)} bytes are missing")
    checksums = verify_frames(data[at + BATCH_HEADER_SIZE : end], header.count)
    if header.seal(checksums) != bytes(data[at : at + BATCH_HEADER_SIZE]):
        raise BadBatch("the header's checksum does not fit")
    return header


def stamp(batch: bytes, count: int, *, partition_id: int, base_offset: int, base_us: int, now_us: int) -> bytes:
    """The batch as it goes to the disk: with its place, and its time `base_us`, in the header.

    A sender without a clock leaves its own time to `now_us`. Raises BadBatch for what is no batch of `count` messages.
    """
    if len(batch) < BATCH_HEADER_SIZE:
        raise BadBatch(f"{len(batch)} bytes are too few for a header")
    _, _, _, origin_us, length, _, promised = _HEADER.unpack_from(batch)
    frames = memoryview(batch)[BATCH_HEADER_SIZE:]
    checksums = verify_frames(frames, count)
    if length != len(batch) or promised != count or count < 1:
        raise BadBatch(f"{len(batch)} bytes, {count} messages; the batch's header says otherwise")
    fields = (partition_id, base_offset, base_us, origin_us or now_us, length)
    checksum = xxh3_64_intdigest(_CHECKED.pack(*fields, count) + checksums)
    return b"".join((_HEADER.pack(*fields, checksum, count), frames))


def narrow(batch: bytes, skip: int, count: int) -> bytes:
    """The batch with only `count` of its messages, those after the first `skip`. They keep their offsets."""
    header = read_header(batch)
    bounds = list(_frame_bounds(batch))[skip : skip + count]
    start, end = bounds[0][0], bounds[-1][1]
    narrowed = msgspec.structs.replace(header, length=BATCH_HEADER_SIZE + end - start, count=count)
    return narrowed.seal(b"".join(batch[at : at + 8] for at, _ in bounds)) + batch[start:end]


def _frame_bounds(batch: bytes) -> Iterator[tuple[int, int]]:
    at = BATCH_HEADER_SIZE
    while at < len(batch):
        _, _, _, headers_size, payload_size, _ = _MESSAGE.unpack_from(batch, at)
        end = at + MESSAGE_HEADER_SIZE + headers_size + payload_size
        yield at, end
        at = end
