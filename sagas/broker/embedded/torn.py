"""What a power cut leaves behind the last whole record of a file, and what only damage does.

Theory of operation. Of what was not synced a disk keeps some sectors and loses others, in any order, and a file has its
new length or not. A sector that was lost reads as it did before: zeros, behind what was synced. So a record
that a power cut has torn goes on behind the file's end, or has a *hole*: a sector that is zeros from where the record
begins in it. What follows a hole was not acknowledged, or stands in the recent file as well: it is cut off.

A record without a hole, and with whole ones behind it or its end where the file ends, was whole once and was changed
since. That is *damage*, and what lies behind it was acknowledged: a broker that cut it off would lose it unheard.

Whatever is cut off is kept in a file of its own beside the one it was in, `<name>.<position>.cut`.
"""

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from struct import Struct
from typing import Final

from sagas.broker.batches import BATCH_HEADER_SIZE, BadBatch, BatchHeader, verify_batch, verify_frames

SECTOR: Final = 512
"""The least that a disk keeps or loses: a page is several of these."""
CUT_SUFFIX: Final = ".cut"
_LENGTH_AND_COUNT = Struct("<32xQ8xI")
_COUNT_END: Final = _LENGTH_AND_COUNT.size
_PADDING: Final = re.compile(rb"\0{%d,}" % (BATCH_HEADER_SIZE - _COUNT_END))
"""What each batch's header ends with: without looking for it, every byte might be the first of a batch."""


def is_blank(content: bytes) -> bool:
    """Whether there is nothing but zeros: what a crash leaves of a file that was just begun."""
    return not content.strip(b"\0")


def has_hole(content: bytes, start: int, end: int, expected: bytes = b"\1") -> bool:
    """Whether a sector was lost of what was written from `start` to `end`.

    `expected` is what is sure to have stood at `start`: a few bytes that are zeros anyway are no hole.
    """
    at = start
    while at < end:
        stop = min(at - at % SECTOR + SECTOR, len(content))
        if is_blank(content[at:stop]) and (at > start or not is_blank(expected[: stop - at])):
            return True
        at = stop
    return False


def whole_batch(content: bytes | memoryview, at: int) -> BatchHeader | None:
    """The header of the whole batch at `at`, None when there is none."""
    try:
        return verify_batch(memoryview(content), at)
    except BadBatch:
        return None


def batches_behind(content: bytes, first: int) -> Iterator[tuple[int, BatchHeader]]:
    """Every whole batch that begins at `first` or later, and where: found without knowing where one begins."""
    at = first
    while (padding := _PADDING.search(content, at)) is not None:
        at = padding.end()
        # The count before the padding has four bytes, of which up to three are zeros and look like padding.
        earliest = padding.start() - _COUNT_END
        for start in range(max(first, earliest), earliest + 4):
            header = whole_batch(content, start)
            if header is not None:
                yield start, header
                first = at = start + header.length
                break


def ends_as_batch(content: bytes, at: int) -> bool:
    """Whether the bad batch at `at` has all of its bytes: one of them was changed, its length perhaps."""
    if len(content) - at < BATCH_HEADER_SIZE:
        return False
    length, messages = _LENGTH_AND_COUNT.unpack_from(content, at)
    try:
        return at + length == len(content) or bool(
            verify_frames(memoryview(content)[at + BATCH_HEADER_SIZE :], messages)
        )
    except BadBatch:
        return False


def keep_aside(path: Path, position: int, content: bytes) -> Path:
    """Write what is cut off of `path` at `position` to a file of its own, on the disk; returns it. Raises OSError."""
    kept = free_name(path, position)
    descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    sync_directory(path.parent)
    return kept


def free_name(path: Path, position: int) -> Path:
    """A name beside `path` for what is cut off of it."""
    names = (path.with_name(f"{path.name}.{position}{again}{CUT_SUFFIX}") for again in _suffixes())
    return next(name for name in names if not name.exists())


def _suffixes() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in count(2))


def sync_directory(path: Path) -> None:
    """Return when the names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
