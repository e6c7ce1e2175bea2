"""The data directory: everything the broker acknowledged, and how it is found again after a restart.

    lock                          held while a broker uses the directory
    metadata.journal              every change of streams, topics and groups, in order
    offsets-<number>.journal      stored offsets; the last record of a reader and a partition counts
    partitions/<epoch>-<id>/      the batches of one partition, in segments
    recent-<number>.journal       batches that are promised to be on the disk and may not be in their segment yet

Writes go to the kernel before a request is answered, so killing the process loses nothing. What is to survive the
machine as well is synced before the answer: each call here returns the files that this takes. Members of
groups are connections, and not restored.
"""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sagas.broker.embedded.changes import Change, apply, decode_change, encode_change
from sagas.broker.embedded.files import AppendFile, Journal, readable
from sagas.broker.embedded.offsets import OffsetRecord, OffsetsJournal
from sagas.broker.embedded.options import parse_options
from sagas.broker.embedded.recent import RecentFiles
from sagas.broker.embedded.recovery import recover
from sagas.broker.embedded.segments import SEGMENT_SIZE, PartitionFiles
from sagas.broker.log import Group, Log, Membership, Partition, Reader, Single, Span, Stream, Topic
from sagas.errors import BrokerError

_DIRECTORY: Final = re.compile(r"(\d+)-(\d+)")
"""The name of a partition's directory: its epoch and its id."""

logger = logging.getLogger(__name__)


class Written(NamedTuple):
    """What has to be synced before a batch may be acknowledged; `complete` is one of these, to be closed after that."""

    files: tuple[AppendFile, ...]
    complete: AppendFile | None = None


class Disk:
    """A log and the directory that holds it.

    Raises BrokerError when there can be no such directory, another broker uses it, this release cannot read it, or
    it was damaged; OSError when the disk is full or fails.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._partitions = directory / "partitions"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(directory)
        except OSError as error:
            raise BrokerError(f"{directory}: no directory to keep a log in: {error}; give another one") from error
        self._files: dict[tuple[int, int], PartitionFiles] = {}
        self.log: Log[None] = Log()
        with ExitStack() as opened:
            opened.callback(os.close, self._lock)
            opened.callback(self._close_partitions)
            self._partitions.mkdir(exist_ok=True)
            self._metadata = Journal(directory / "metadata.journal")
            opened.callback(self._metadata.file.close)
            self._restore_metadata()
            self._recent = RecentFiles(directory)
            opened.callback(self._recent.close)
            recover({_key(it): (it, self._files_of(it)) for it in self._all_partitions()}, self._recent)
            self._say_what_is_missing()
            self._leave_recent()
            self._offsets = OffsetsJournal(directory)
            opened.callback(self._offsets.close)
            self._restore_offsets()
            self._opened = opened.pop_all()

    def _restore_metadata(self) -> None:
        for record in self._metadata.records:
            with readable(self._metadata.file.path):
                apply(self.log, decode_change(record))
        self._metadata.records.clear()
        unknown = [path for (epoch, _), path in self._directories() if epoch > self.log.sequence]
        if unknown:
            raise BrokerError(
                f"{self._metadata.file.path}: ends before the topic began whose messages are in {unknown[0]}; "
                "restore a backup, or give another data directory"
            )
        self._metadata.cut_torn_end()
        # Whoever was killed may not have come to it, and messages of these topics may be acknowledged from now on.
        self._metadata.file.sync()
        self.remove_unused()

    def _say_what_is_missing(self) -> None:
        for topic in self._all_topics():
            for partition in topic.partitions if topic.expiry_us is None else ():
                if partition.first > 0:
                    home = self._partitions / f"{partition.epoch}-{partition.id}"
                    logger.error(
                        "%s: begins at offset %d, and nothing expires: messages are missing", home, partition.first
                    )

    # ------------------------------------------------------------------ changes

    def change(self, change: Change) -> tuple[Stream[None] | Topic[None] | Group, AppendFile]:
        """Make a change and write it down. Raises Refusal; then nothing was written."""
        result = apply(self.log, change)
        self._metadata.append((encode_change(change),))
        return result, self._metadata.file

    def remove_unused(self) -> None:
        """Remove the messages of partitions that are gone: call it when the change that ended them is durable."""
        used = {_key(partition) for partition in self._all_partitions()}
        for key in [key for key in self._files if key not in used]:
            self._files.pop(key).close()
        for key, path in self._directories():
            if key not in used:
                shutil.rmtree(path)

    def _directories(self) -> list[tuple[tuple[int, int], Path]]:
        """Epoch, id and directory of each partition that there is, or was; whatever else lies there is not ours."""
        named = [(_DIRECTORY.fullmatch(path.name), path) for path in self._partitions.iterdir() if path.is_dir()]
        return [((int(name[1]), int(name[2])), path) for name, path in named if name is not None]

    # ------------------------------------------------------------------ messages

    def append(
        self, partition: Partition[None], batch: bytes, count: int, now_us: int, *, is_durable: bool = False
    ) -> Written:
        """Append a batch that is stamped for the partition's end; `is_durable`: it has to outlive the machine's end."""
        home = self._files_of(partition)
        files = home.append(batch)
        if home.last_start == partition.size_bytes:
            partition.begin_segment()
        partition.append(None, count=count, size=len(batch), now_us=now_us)
        if len(files) > 1:
            return Written(files, complete=files[0])
        if not is_durable:
            return Written(())
        self._recent.append(partition.epoch, partition.id, batch)
        # The first time also for the file's name, without which its content is nowhere.
        return Written((self._recent.file,) if home.tail.is_name_synced else (self._recent.file, home.tail))

    @property
    def has_recent_grown(self) -> bool:
        """Whether it is time for `renew_recent`."""
        return self._recent.has_grown

    def prepare_recent(self) -> None:
        """Do beforehand what `renew_recent` would have to wait for the disk for; called from a thread."""
        self._recent.prepare()

    def renew_recent(self) -> tuple[AppendFile, list[int]] | None:
        """Begin another file of recent batches when the one there has grown.

        What `remove_older_recent` is to be given, and descriptors to be synced before, and closed, by whoever calls.
        """
        if not self._recent.has_grown:
            return None
        return self._recent.begin_anew(), [files.tail.another_descriptor() for files in self._files.values()]

    def remove_older_recent(self, kept: AppendFile) -> None:
        """All that was written to partitions before `kept` was begun is on the disk."""
        self._recent.remove_older(kept)

    def _leave_recent(self) -> None:
        """Have the partitions on the disk, and begin the recent files anew."""
        for files in self._files.values():
            files.sync()
        self._recent.remove_older(self._recent.begin_anew())

    def read(self, partition: Partition[None], span: Span[None]) -> bytes:
        """The whole batches of a span, end to end."""
        return self._files_of(partition).read(span)

    def expire(self, now_us: int) -> list[tuple[AppendFile, Callable[[], None]]]:
        """Forget what is older than its topic keeps messages: a file to sync for each partition, and what to call then.

        Only then are the files removed, for the oldest batch that is left tells a restart which offset it has.
        """
        work: list[tuple[AppendFile, Callable[[], None]]] = []
        for partition in self.log.expire(now_us):
            files = self._files_of(partition)
            work.append((files.tail, partial(files.remove_before, partition.first_position)))
        return work

    # ------------------------------------------------------------------ offsets

    def note_offset(self, partition: Partition[None], reader: Reader, offset: int | None) -> tuple[AppendFile, ...]:
        """Write down an offset that was stored, or deleted (None)."""
        self._offsets.store(_record(partition, reader, offset))
        return (self._offsets.file,)

    def renew_offsets(self) -> AppendFile | None:
        """Begin the offsets journal anew when it has grown; the file to sync before `remove_older_offsets`."""
        return self._offsets.begin_anew(self._current_offsets()) if self._offsets.has_grown else None

    def remove_older_offsets(self, kept: AppendFile) -> None:
        """The renewed journal `kept` is durable."""
        self._offsets.remove_older(kept)

    def _restore_offsets(self) -> None:
        if self._offsets.is_missing and self.log.sequence:
            logger.error("%s: the offsets that readers have stored are missing; they begin anew", self.directory)
        homes = {_key(partition): topic for topic in self._all_topics() for partition in topic.partitions}
        last = {
            (record.epoch, record.partition, record.is_group, record.reader): record for record in self._offsets.records
        }
        self._offsets.records.clear()
        for (epoch, partition_id, is_group, reader), record in last.items():
            topic = homes.get((epoch, partition_id))
            found = topic and (topic.find_group(reader) if is_group else Single(reader))
            if topic is not None and found and record.offset is not None:
                end = topic.partitions[partition_id].end
                if record.offset >= end:
                    home = self._partitions / f"{epoch}-{partition_id}"
                    logger.error(
                        "%s: was read up to offset %d, messages are missing from %d on", home, record.offset, end
                    )
                topic.restore_offset(partition_id, found, record.offset)
        kept = self._offsets.begin_anew(self._current_offsets())
        kept.sync()
        self._offsets.remove_older(kept)

    def _current_offsets(self) -> Iterable[OffsetRecord]:
        for topic in self._all_topics():
            for partition_id, reader, offset in topic.offsets():
                yield _record(topic.partitions[partition_id], reader, offset)

    # ------------------------------------------------------------------ the rest

    def sync(self) -> None:
        """Have everything on the disk, what was not promised to be there as well. Raises OSError."""
        for file in (self._metadata.file, self._offsets.file):
            file.sync()
        self._leave_recent()

    def close(self) -> None:
        """Give up the files and the lock."""
        self._opened.close()

    def _close_partitions(self) -> None:
        for files in self._files.values():
            files.close()

    def _files_of(self, partition: Partition[None]) -> PartitionFiles:
        key = _key(partition)
        files = self._files.get(key)
        if files is None:
            directory = self._partitions / f"{key[0]}-{key[1]}"
            # A directory that a power cut leaves without its topic would look as if the topic's record was damaged.
            if not self._metadata.file.is_synced:
                self._metadata.file.sync()
            files = self._files[key] = PartitionFiles(directory, self._segment_size_of(partition))
        return files

    def _segment_size_of(self, partition: Partition[None]) -> int:
        home = next((topic for topic in self._all_topics() if partition in topic.partitions), None)
        return (parse_options(home.options).segment_size if home else None) or SEGMENT_SIZE

    def _all_topics(self) -> list[Topic[None]]:
        return [topic for stream in self.log.streams.values() for topic in stream.topics.values()]

    def _all_partitions(self) -> list[Partition[None]]:
        return [partition for topic in self._all_topics() for partition in topic.partitions]


def _key(partition: Partition[None]) -> tuple[int, int]:
    return partition.epoch, partition.id


def _record(partition: Partition[None], reader: Reader | Group, offset: int | None) -> OffsetRecord:
    named = reader.group if isinstance(reader, Membership) else reader
    return OffsetRecord(partition.epoch, partition.id, isinstance(named, Group), named.id, offset)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BrokerError(f"{directory}: another broker uses this directory; stop it or give another one") from error
    return descriptor
