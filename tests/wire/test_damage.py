"""A file that was damaged, or is gone, costs no message without a word; what a power cut leaves is no damage."""

import logging
import os
import shutil
from pathlib import Path
from random import Random

import pytest

from sagas.broker.embedded.changes import GroupCreated, StreamCreated, TopicCreated
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.files import Journal
from sagas.broker.embedded.torn import SECTOR
from sagas.broker.log import Single
from sagas.errors import BrokerError
from tests.wire.test_disk import options, stamped

MESSAGES = 7
SEGMENT = 1_500


def filled(folder: Path, *, ends_with_group: bool = False) -> dict[str, bytes]:
    """A directory with a stream, two topics and their messages, as a clean stop leaves it; its files."""
    disk = Disk(folder)
    disk.change(StreamCreated(name="s", at_us=0))
    for number, name in enumerate("ab"):
        # The second keeps its messages for ever.
        block = options(expiry_us=10**15 if number == 0 else None, segment=SEGMENT)
        disk.change(TopicCreated(stream=0, name=name, partitions=1, at_us=0, options=block))
        if ends_with_group or number == 0:
            disk.change(GroupCreated(stream=0, topic=number, name="g"))
        send(disk, name, MESSAGES)
    for name, offset in (("a", 3), ("b", MESSAGES - 1)):
        disk.note_offset(disk.log.topic("s", name).partitions[0], Single(7), offset)
    disk.sync()
    disk.close()
    return files(folder)


def send(disk: Disk, topic: str, count: int, *, is_durable: bool = False) -> None:
    partition = disk.log.topic("s", topic).partitions[0]
    for _ in range(count):
        batch = stamped(partition, b"%010d" % partition.end)
        complete = disk.append(partition, batch, 1, 5, is_durable=is_durable).complete
        if complete is not None:
            complete.close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counts(folder: Path) -> list[int]:
    """How many messages each topic has after a start."""
    disk = Disk(folder)
    found: list[int] = []
    for topic in disk.log.stream("s").topics.values():
        span = topic.partitions[0].span(0, 10**6)
        data = disk.read(topic.partitions[0], span) if span is not None else b""
        found.append(sum(b"%010d" % number in data for number in range(MESSAGES)))
    disk.close()
    return found


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << at % 8
    path.write_bytes(content)


@pytest.mark.parametrize("ends_with_group", [True, False], ids=["a group last", "a topic last"])
def test_a_flipped_byte_in_the_metadata_removes_nothing(tmp_path: Path, ends_with_group: bool) -> None:
    before = filled(tmp_path, ends_with_group=ends_with_group)
    path = tmp_path / "metadata.journal"
    for at in range(path.stat().st_size):
        flip(path, at)
        damaged = files(tmp_path)
        with pytest.raises(BrokerError, match=r"metadata\.journal"):
            Disk(tmp_path)
        assert files(tmp_path) == damaged, at
        flip(path, at)
    assert files(tmp_path) == before
    assert counts(tmp_path) == [MESSAGES, MESSAGES]


def test_a_damaged_journal_says_where_and_what_to_do(tmp_path: Path) -> None:
    filled(tmp_path)
    flip(tmp_path / "metadata.journal", 40)
    with pytest.raises(BrokerError, match=r"metadata.journal: damaged at byte 16.*restore a backup"):
        Disk(tmp_path)


@pytest.mark.parametrize("content", [None, b"", bytes(100)], ids=["gone", "empty", "zeros"])
def test_metadata_that_is_gone_takes_no_messages_with_it(tmp_path: Path, content: bytes | None) -> None:
    filled(tmp_path)
    partitions = files(tmp_path / "partitions")
    (tmp_path / "metadata.journal").unlink()
    if content is not None:
        (tmp_path / "metadata.journal").write_bytes(content)
    for _ in range(2):
        with pytest.raises(BrokerError, match="ends before the topic began"):
            Disk(tmp_path)
    assert files(tmp_path / "partitions") == partitions


@pytest.mark.parametrize("gone", ["first segment", "last segment", "directory"])
def test_messages_that_are_gone_are_missed_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture, gone: str) -> None:
    filled(tmp_path)
    home = tmp_path / "partitions" / "3-0"
    if gone == "directory":
        shutil.rmtree(home)
    else:
        (min if gone == "first segment" else max)(home.iterdir()).unlink()
    for _ in range(2):
        Disk(tmp_path).close()
    assert "messages are missing" in caplog.text


def test_a_flipped_byte_in_a_segment_cuts_nothing_off(tmp_path: Path) -> None:
    filled(tmp_path)
    for path in sorted((tmp_path / "partitions" / "2-0").iterdir()):
        for at in range(0, path.stat().st_size, 23):
            flip(path, at)
            damaged = files(tmp_path)
            with pytest.raises(BrokerError, match=rf"{path.name}: damaged at byte \d+.*restore a backup, or move"):
                Disk(tmp_path)
            assert files(tmp_path) == damaged, (path, at)
            flip(path, at)
    assert counts(tmp_path) == [MESSAGES, MESSAGES]


def test_a_damaged_partition_that_was_moved_away_loses_only_its_own_messages(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    home = tmp_path / "data" / "partitions" / "2-0"
    flip(min(home.iterdir()), 400)
    home.rename(tmp_path / "data" / "partitions" / "2-0-damaged")
    assert counts(tmp_path / "data") == [0, MESSAGES]
    assert (home.with_name("2-0-damaged") / min(home.iterdir()).name).exists(), "what is not ours is left alone"


def test_damage_that_the_recent_file_heals_is_healed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    disk = Disk(tmp_path)
    send(disk, "a", 3, is_durable=True)
    disk.close()
    last = max((tmp_path / "partitions" / "2-0").iterdir())
    flip(last, last.stat().st_size - 314 - 5)
    again = Disk(tmp_path)
    assert again.log.topic("s", "a").partitions[0].end == MESSAGES + 3
    again.close()
    assert len(list(last.parent.glob("*.cut"))) == 1
    assert "kept in" in caplog.text


def test_a_damaged_record_of_the_recent_file_hides_none_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    before = tmp_path / "before"
    shutil.copytree(tmp_path / "partitions", before)
    disk = Disk(tmp_path)
    for topic in "abab":
        send(disk, topic, 1, is_durable=True)
    disk.close()
    shutil.rmtree(tmp_path / "partitions")
    before.rename(tmp_path / "partitions")
    (recent,) = tmp_path.glob("recent-*.journal")
    flip(recent, 60)
    again = Disk(tmp_path)
    assert [topic.partitions[0].end for topic in again.log.stream("s").topics.values()] == [MESSAGES, MESSAGES + 2]
    again.close()
    # The other message of the first topic cannot be put where the lost one belongs.
    assert (tmp_path / "recent.0.cut").stat().st_size == 314
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert recent.with_name(f"{recent.name}.16.cut").stat().st_size == 24 + 314


def test_a_damaged_record_of_the_offsets_hides_none_behind_it(tmp_path: Path) -> None:
    filled(tmp_path)
    disk = Disk(tmp_path)
    partition = disk.log.topic("s", "a").partitions[0]
    (path,) = tmp_path.glob("offsets-*.journal")
    at = path.stat().st_size
    for reader, offset in ((8, 1), (9, 2), (10, 5)):
        disk.note_offset(partition, Single(reader), offset)
    disk.close()
    flip(path, at + 13)
    again = Disk(tmp_path)
    stored = [(reader, offset) for _, reader, offset in again.log.topic("s", "a").offsets()]
    again.close()
    assert stored == [(Single(7), 3), (Single(9), 2), (Single(10), 5)]


@pytest.mark.parametrize("content", [None, b"", bytes(100)], ids=["gone", "empty", "zeros"])
def test_stored_offsets_that_are_gone_are_missed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    filled(tmp_path)
    Disk(tmp_path).close()
    assert caplog.text == ""
    (path,) = tmp_path.glob("offsets-*.journal")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    Disk(tmp_path).close()
    assert "the offsets that readers have stored are missing" in caplog.text


@pytest.mark.parametrize("seed", range(60))
def test_a_power_cut_leaves_no_journal_that_is_taken_for_damaged(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    path = tmp_path / "some.journal"
    journal = Journal(path)
    certain, promised, written = path.read_bytes(), 0, list[bytes]()
    for _ in range(random.randrange(1, 60)):
        written.append(random.randbytes(random.randrange(1, 200)))
        journal.append(written[-1:])
        if random.random() < 0.2:
            certain, promised = path.read_bytes(), len(written)
    journal.file.close()
    wanted = path.read_bytes()
    size = random.randrange(len(certain), len(wanted) + 1)
    old, new = certain.ljust(size, b"\0"), wanted[:size]
    path.write_bytes(b"".join(random.choice([old, new])[at : at + SECTOR] for at in range(0, size, SECTOR)))

    again = Journal(path)
    assert promised <= len(again.records), f"seed {seed}"
    assert again.records == written[: len(again.records)], f"seed {seed}"
    again.cut_torn_end()
    again.append([b"next"])
    again.file.close()
    last = Journal(path)
    last.file.close()
    assert last.records == [*again.records, b"next"]


@pytest.mark.parametrize("name", ["metadata.journal", "offsets-000000000001.journal", "recent-000000000009.journal"])
def test_a_directory_that_is_refused_is_left_with_nothing_open(tmp_path: Path, name: str) -> None:
    Disk(tmp_path).close()
    (tmp_path / name).write_bytes(b"something else altogether, as long as a header at least")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BrokerError):
        Disk(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_power_cut_leaves_no_directory_without_its_topic(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.change(StreamCreated(name="s", at_us=0))
    _, metadata = disk.change(TopicCreated(stream=0, name="t", partitions=1, at_us=0, options=b""))
    assert not metadata.is_synced
    send(disk, "t", 1)
    assert metadata.is_synced
    disk.close()


@pytest.mark.parametrize("stray", ["offsets-old.journal", "recent-backup.journal", "partitions/2-0/copy.segment"])
def test_somebodys_copies_among_the_files_are_left_alone(tmp_path: Path, stray: str) -> None:
    filled(tmp_path)
    (tmp_path / stray).write_bytes(b"somebody's")
    assert counts(tmp_path) == [MESSAGES, MESSAGES]
    assert (tmp_path / stray).read_bytes() == b"somebody's"
