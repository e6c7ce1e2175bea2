"""What was written lately outlives the machine, though only one file is synced for it."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sagas.broker.embedded.changes import StreamCreated, TopicCreated, TopicPurged
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.files import AppendFile, Journal
from sagas.broker.embedded.offsets import OffsetsJournal
from sagas.broker.embedded.recent import RecentFiles
from sagas.broker.log import Partition
from sagas.errors import BrokerError
from tests.wire.raw import OPTION_PERSISTED
from tests.wire.test_disk import options, stamped

PARTITIONS = 3
SEGMENT = 2_000
SECTOR = 512


def a_disk(folder: Path, segment: int = SEGMENT) -> Disk:
    disk = Disk(folder)
    if disk.log.find_stream("s") is None:
        disk.change(StreamCreated(name="s", at_us=0))
        small = options(expiry_us=10**15, segment=segment) + OPTION_PERSISTED
        disk.change(TopicCreated(stream=0, name="t", partitions=PARTITIONS, at_us=0, options=small))
    return disk


def partitions(disk: Disk) -> list[Partition[None]]:
    return disk.log.topic("s", "t").partitions


def send(disk: Disk, number: int, payload: bytes) -> tuple[AppendFile, ...]:
    partition = partitions(disk)[number]
    written = disk.append(partition, stamped(partition, payload), 1, 5, is_durable=True)
    if written.complete is not None:
        for file in written.files:
            file.sync()
        written.complete.close()
    return written.files


def payloads(disk: Disk) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    for partition in partitions(disk):
        span = partition.span(0, 10**6)
        data = disk.read(partition, span) if span is not None else b""
        found.append([data[at + 304 : at + 314] for at in range(0, len(data), 314)])
    return found


def segments(folder: Path) -> Iterator[Path]:
    for home in (folder / "partitions").iterdir():
        yield max(home.iterdir())


def payload(number: int) -> bytes:
    return b"%010d" % number


def test_after_the_first_send_only_the_recent_file_is_synced(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    for file in send(disk, 0, payload(0)):
        file.sync()
    assert [file.path.name for file in send(disk, 0, payload(1))] == ["recent-000000000001.journal"]
    disk.close()


@pytest.mark.parametrize("seed", range(20))
def test_what_the_partitions_files_lost_is_taken_from_the_recent_one(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    disk = a_disk(tmp_path)
    expected: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    # What each tail held when it was last synced: at its beginning, and whenever a recent file was left behind.
    certain: dict[Path, int] = {}
    for number in range(random.randrange(1, 60)):
        partition = random.randrange(PARTITIONS)
        for file in send(disk, partition, payload(number)):
            if file.path.suffix == ".segment":
                certain[file.path] = file.path.stat().st_size
        expected[partition].append(payload(number))
    disk.close()
    for path in segments(tmp_path):
        size = path.stat().st_size
        os.truncate(path, random.randrange(min(certain.get(path, 0), size), size + 1))

    again = a_disk(tmp_path)
    assert payloads(again) == expected, f"seed {seed}"
    for partition in range(PARTITIONS):
        send(again, partition, payload(99))
        expected[partition].append(payload(99))
    again.close()
    once_more = a_disk(tmp_path)
    assert payloads(once_more) == expected
    assert len(list(tmp_path.glob("recent-*"))) == 1
    once_more.close()


@pytest.mark.parametrize("is_clean", [True, False], ids=["a clean stop", "a restart"])
def test_a_full_segment_that_nobody_has_synced_is_before_the_recent_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_clean: bool
) -> None:
    disk = a_disk(tmp_path)
    for number in range(10):
        partition = partitions(disk)[0]
        written = disk.append(partition, stamped(partition, payload(number)), 1, 5, is_durable=True)
        if written.complete is not None:
            written.complete.close()  # the broker was killed before it came to syncing it
    full = next(min(home.iterdir()) for home in (tmp_path / "partitions").iterdir() if len(list(home.iterdir())) > 1)
    synced: set[int] = set()
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    if is_clean:
        disk.sync()
    disk.close()
    if not is_clean:
        a_disk(tmp_path).close()
    assert full.stat().st_ino in synced


def test_a_torn_end_of_the_recent_file_is_left_out(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    for number in range(3):
        send(disk, 0, payload(number))
    disk.close()
    (recent,) = tmp_path.glob("recent-*")
    os.truncate(recent, len(recent.read_bytes().rstrip(b"\0")) - 1)
    os.truncate(next(path for path in segments(tmp_path) if path.stat().st_size), 0)
    again = a_disk(tmp_path)
    assert payloads(again)[0] == [payload(0), payload(1)]
    again.close()


@pytest.mark.parametrize("seed", range(40))
def test_a_power_cut_takes_at_most_what_was_written_after_the_last_sync(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    files = RecentFiles(tmp_path, ahead=random.choice([0, 1, 700, 4_000]))
    path = files.begin_anew().path
    partition = Partition[None](0, 1, 0)
    files.file.sync()
    certain, promised, written = path.read_bytes(), 0, list[bytes]()
    for number in range(random.randrange(1, 40)):
        batch = stamped(partition, payload(number) * random.randrange(1, 200))
        files.append(1, 0, batch)
        written.append(batch)
        if random.random() < 0.3:
            files.file.sync()
            certain, promised = path.read_bytes(), len(written)
    files.close()
    # Of what was written since, each sector may be on the disk or not, and the file may have its new length or not.
    wanted = path.read_bytes()
    size = random.choice([len(certain), len(wanted)])
    old, new = certain.ljust(size, b"\0"), wanted[:size]
    sectors = [random.choice([old, new])[at : at + SECTOR] for at in range(0, size, SECTOR)]
    path.write_bytes(b"".join(sectors))

    again = RecentFiles(tmp_path)
    found = [batch for _, _, batch in again.replay()]
    again.close()
    assert promised <= len(found), f"seed {seed}"
    assert found == written[: len(found)], f"seed {seed}"


@pytest.mark.parametrize("name", ["recent-*", "offsets-*", "metadata.journal"])
@pytest.mark.parametrize("length", [0, 16, 512, None], ids=["no length", "a header's", "a sector's", "all of it"])
def test_a_power_cut_may_leave_nothing_but_zeros_of_a_file_that_was_just_begun(
    tmp_path: Path, name: str, length: int | None
) -> None:
    disk = a_disk(tmp_path)
    if name != "metadata.journal":
        for file in send(disk, 0, payload(0)):
            file.sync()
        disk.sync()
        disk.close()
        disk = a_disk(tmp_path)
    disk.close()
    begun = max(tmp_path.glob(name))
    begun.write_bytes(bytes(begun.stat().st_size if length is None else length))
    again = a_disk(tmp_path)
    assert payloads(again)[0] == ([] if name == "metadata.journal" else [payload(0)])
    again.close()


def test_a_file_says_what_it_is_on_the_disk_before_anything_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    sync = os.fdatasync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    recent, offsets = RecentFiles(tmp_path), OffsetsJournal(tmp_path)
    for begun in (recent.begin_anew(), offsets.file, offsets.begin_anew([]), Journal(tmp_path / "m.journal").file):
        assert begun.path.stat().st_ino in synced
    recent.close()
    offsets.close()


def test_a_sync_finds_the_recent_file_as_long_as_it_was(tmp_path: Path) -> None:
    files = RecentFiles(tmp_path, ahead=10_000)
    path = files.begin_anew().path
    sizes: set[int] = set()
    for number in range(50):
        files.append(1, 0, stamped(Partition[None](0, 1, 0), payload(number)))
        sizes.add(path.stat().st_size)
    files.close()
    assert len(sizes) == 2
    assert len(list(RecentFiles(tmp_path).replay())) == 50


def test_messages_of_a_topic_that_was_emptied_do_not_come_back(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    send(disk, 0, payload(0))
    disk.change(TopicPurged(stream=0, topic=0))
    disk.close()
    again = a_disk(tmp_path)
    assert payloads(again) == [[]] * PARTITIONS
    again.close()


def test_a_recent_file_that_has_grown_goes_once_the_partitions_are_synced(tmp_path: Path) -> None:
    files = RecentFiles(tmp_path, growth_max=1_000)
    files.begin_anew()
    partition = Partition[None](0, 1, 0)
    while not files.has_grown:
        files.append(1, 0, stamped(partition, b"a"))
    kept = files.begin_anew()
    files.append(1, 0, stamped(partition, b"b"))
    both = RecentFiles(tmp_path)
    assert [batch[304:] for _, _, batch in both.replay()] == [b"a"] * 3 + [b"b"]
    both.close()
    files.remove_older(kept)
    files.close()
    assert [batch[304:] for _, _, batch in RecentFiles(tmp_path).replay()] == [b"b"]


def test_the_disk_hands_out_what_is_to_be_synced_before_the_older_file_goes(tmp_path: Path) -> None:
    disk = a_disk(tmp_path, 10**9)
    assert disk.renew_recent() is None
    big = b"x" * 1_000_000
    for _ in range(17):
        send(disk, 1, big)
    renewed = disk.renew_recent()
    assert renewed is not None
    kept, descriptors = renewed
    for descriptor in descriptors:
        os.fdatasync(descriptor)
        os.close(descriptor)
    assert len(list(tmp_path.glob("recent-*"))) == 2
    disk.remove_older_recent(kept)
    assert list(tmp_path.glob("recent-*")) == [kept.path]
    disk.close()


def test_a_clean_stop_leaves_nothing_to_take_over(tmp_path: Path) -> None:
    disk = a_disk(tmp_path)
    send(disk, 0, payload(0))
    disk.sync()
    disk.close()
    assert list(RecentFiles(tmp_path).replay()) == []


def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    a_disk(tmp_path).close()
    path = tmp_path / "recent-000000000009.journal"
    path.write_text("Dear diary, today I was not a journal of any broker.")
    with pytest.raises(BrokerError, match="not a journal of this release"):
        a_disk(tmp_path)
    assert path.read_text().startswith("Dear diary")
