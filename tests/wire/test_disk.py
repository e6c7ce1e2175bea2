"""The data directory: segments, the renewal of the offsets journal, and what a restart brings back."""

from pathlib import Path

import pytest

from sagas.broker.batches import read_header
from sagas.broker.embedded.changes import GroupCreated, StreamCreated, TopicCreated, TopicDeleted, TopicPurged
from sagas.broker.embedded.disk import Disk
from sagas.broker.embedded.files import Journal
from sagas.broker.embedded.offsets import OffsetRecord, OffsetsJournal
from sagas.broker.embedded.segments import PartitionFiles
from sagas.broker.log import Membership, Partition, Single
from sagas.errors import BrokerError
from tests.wire.raw import batch


def stamped(partition: Partition[None], payload: bytes) -> bytes:
    whole = batch(payload)
    header = read_header(whole)
    fields = {"partition_id": partition.id, "base_offset": partition.end}
    sealed = type(header)(
        **fields,
        base_timestamp=5,
        origin_timestamp=header.origin_timestamp,
        length=header.length,
        count=1,
    ).seal(whole[256:264])
    return sealed + whole[256:]


def written(disk: Disk, partition: Partition[None], *payloads: bytes) -> None:
    for payload in payloads:
        disk.append(partition, stamped(partition, payload), 1, 5)


def test_a_restart_brings_back_ids_options_groups_messages_and_offsets(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for name in ("a", "b"):
        disk.change(StreamCreated(name=name, at_us=7))
    disk.change(TopicCreated(stream=1, name="t", partitions=2, at_us=8, options=b""))
    disk.change(GroupCreated(stream=1, topic=0, name="g"))
    topic = disk.log.topic("b", "t")
    written(disk, topic.partitions[1], b"one", b"two")
    topic.store_offset(1, Single(9), 1, 0)
    disk.note_offset(topic.partitions[1], Single(9), 1)
    disk.note_offset(topic.partitions[1], Membership(topic.group("g"), 1), 0)
    disk.close()

    again = Disk(tmp_path)
    restored = again.log.topic("b", "t")
    assert [(stream.id, stream.name, stream.created_us) for stream in again.log.streams.values()] == [
        (0, "a", 7),
        (1, "b", 7),
    ]
    assert [(partition.end, partition.size_bytes) for partition in restored.partitions] == [
        (partition.end, partition.size_bytes) for partition in topic.partitions
    ]
    assert restored.group("g").roster(0) == []
    assert [(partition, offset) for partition, _, offset in restored.offsets()] == [(1, 1), (1, 0)]
    again.close()


def test_a_topic_made_again_does_not_find_the_messages_of_the_old_one(tmp_path: Path) -> None:
    for _ in range(2):
        disk = Disk(tmp_path)
        if disk.log.find_stream("s") is None:
            disk.change(StreamCreated(name="s", at_us=0))
        else:
            # The files are still there: the broker was killed before it could remove them.
            disk.change(TopicDeleted(stream=0, topic=0))
        disk.change(TopicCreated(stream=0, name="t", partitions=1, at_us=0, options=b""))
        partition = disk.log.topic("s", "t").partitions[0]
        assert partition.end == 0
        written(disk, partition, b"one")
        disk.note_offset(partition, Single(1), 0)
        disk.close()
    assert len(list((tmp_path / "partitions").iterdir())) == 2
    disk = Disk(tmp_path)
    assert len(list((tmp_path / "partitions").iterdir())) == 1
    disk.close()


def test_a_purged_topic_stays_empty_after_a_restart(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.change(StreamCreated(name="s", at_us=0))
    disk.change(TopicCreated(stream=0, name="t", partitions=1, at_us=0, options=b""))
    written(disk, disk.log.topic("s", "t").partitions[0], b"one")
    disk.note_offset(disk.log.topic("s", "t").partitions[0], Single(1), 0)
    disk.change(TopicPurged(stream=0, topic=0))
    disk.close()
    again = Disk(tmp_path)
    assert again.log.topic("s", "t").partitions[0].end == 0
    assert again.log.topic("s", "t").offsets() == []
    again.close()


def test_a_partition_is_divided_into_segments_and_read_across_them(tmp_path: Path) -> None:
    partition = Partition[None](0, 1, 0)
    files = PartitionFiles(tmp_path / "p", segment_size=700)
    payloads = [b"%d" % number for number in range(10)]
    for payload in payloads:
        for complete in files.append(data := stamped(partition, payload))[:-1]:
            complete.close()
        partition.append(None, count=1, size=len(data), now_us=5)
    assert len(list((tmp_path / "p").iterdir())) == 4
    span = partition.span(2, 7)
    assert span is not None
    read = files.read(span)
    assert len(read) == span.size
    assert [read[at + 304 : at + 305] for at in range(0, len(read), 305)] == payloads[2:9]
    files.close()

    again = Partition[None](0, 1, 0)
    files = PartitionFiles(tmp_path / "p", segment_size=700)
    files.recover(again)
    assert (again.end, files.read(span)) == (10, read)
    files.close()


def test_what_follows_a_torn_segment_is_cut_off_too(tmp_path: Path) -> None:
    partition = Partition[None](0, 1, 0)
    files = PartitionFiles(tmp_path / "p", segment_size=700)
    for number in range(10):
        for complete in files.append(data := stamped(partition, b"%d" % number))[:-1]:
            complete.close()
        partition.append(None, count=1, size=len(data), now_us=5)
    files.close()
    second = sorted((tmp_path / "p").iterdir())[1]
    content = bytearray(second.read_bytes())
    content[512:] = bytes(len(content) - 512)
    second.write_bytes(content)

    again = Partition[None](0, 1, 0)
    files = PartitionFiles(tmp_path / "p", segment_size=700)
    behind = files.recover(again)
    assert (again.end, behind and (behind.is_damage, behind.messages, behind.end)) == (4, (False, 4, 10))
    assert behind is not None
    files.cut(behind, behind.messages)
    files.append(stamped(again, b"new"))
    again.append(None, count=1, size=307, now_us=5)
    span = again.span(4, 1)
    assert span is not None
    assert files.read(span)[304:] == b"new"
    files.close()


def test_a_batch_that_lies_where_another_belongs_is_not_taken(tmp_path: Path) -> None:
    partition = Partition[None](0, 1, 0)
    files = PartitionFiles(tmp_path / "p")
    for _ in range(2):
        files.append(stamped(partition, b"the same offset twice"))
    behind = files.recover(partition)
    assert (partition.end, behind and behind.end) == (1, 1)
    files.close()


def test_the_offsets_journal_is_begun_anew_when_it_has_grown(tmp_path: Path) -> None:
    journal = OffsetsJournal(tmp_path, growth_max=2_000)
    count = 0
    while not journal.has_grown:
        journal.store(OffsetRecord(1, 0, False, 7, count))
        count += 1
    kept = journal.begin_anew([OffsetRecord(1, 0, False, 7, count - 1)])
    journal.store(OffsetRecord(1, 0, False, 8, 5))
    both = OffsetsJournal(tmp_path)
    assert both.records[-2:] == [OffsetRecord(1, 0, False, 7, count - 1), OffsetRecord(1, 0, False, 8, 5)]
    assert len(both.records) == count + 2
    both.close()
    journal.remove_older(kept)
    journal.close()
    assert OffsetsJournal(tmp_path).records == both.records[-2:]


def test_two_brokers_never_share_a_directory(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with pytest.raises(BrokerError, match="another broker uses this directory"):
        Disk(tmp_path)
    disk.close()
    Disk(tmp_path).close()


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.journal"
    path.write_text("Dear diary, today I was not a journal of any broker.")
    with pytest.raises(BrokerError, match="not a journal of this release"):
        Journal(path)
    assert path.read_text().startswith("Dear diary")


def test_a_journal_takes_no_record_that_it_would_not_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "some.journal")
    journal.append([b"x" * (1 << 20)])
    with pytest.raises(AssertionError):
        journal.append([b"x" * ((1 << 20) + 1)])
    journal.append([b"last"])
    journal.file.close()
    again = Journal(tmp_path / "some.journal")
    assert [len(record) for record in again.records] == [1 << 20, 4]
    again.file.close()


@pytest.mark.parametrize("name", ["metadata.journal", "offsets-000000000009.journal"])
def test_a_record_that_a_newer_release_wrote_is_said_and_left_alone(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path / name)
    journal.append([b"\x81\xa4type\xa3new"])
    journal.file.close()
    before = (tmp_path / name).read_bytes()
    with pytest.raises(BrokerError, match=name):
        Disk(tmp_path)
    assert (tmp_path / name).read_bytes() == before


def test_a_directory_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BrokerError, match="give another one"):
            Disk(folder)


def test_a_stray_file_among_the_partitions_disturbs_nobody(tmp_path: Path) -> None:
    Disk(tmp_path).close()
    stray = tmp_path / "partitions" / ".DS_Store"
    stray.write_text("x")
    Disk(tmp_path).close()
    assert stray.exists()


def test_segments_expire_with_their_files_and_a_restart_knows_where_the_partition_begins(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.change(StreamCreated(name="s", at_us=0))
    disk.change(TopicCreated(stream=0, name="t", partitions=1, at_us=0, options=options(expiry_us=1_000, segment=700)))
    partition = disk.log.topic("s", "t").partitions[0]
    for number in range(10):
        data = stamped(partition, b"%d" % number)
        complete = disk.append(partition, data, 1, number).complete
        if complete is not None:
            complete.close()
    folder = next((tmp_path / "partitions").iterdir())
    assert (partition.segments, len(list(folder.iterdir()))) == (4, 4)

    assert disk.expire(1_002) == []
    work = disk.expire(1_007)
    assert (partition.first, partition.segments) == (6, 2)
    assert len(list(folder.iterdir())) == 4, "files go once what is left is durable"
    for file, remove in work:
        file.sync()
        remove()
    assert len(list(folder.iterdir())) == 2
    span = partition.span(0, 100)
    assert span is not None
    read = disk.read(partition, span)
    disk.close()

    again = Disk(tmp_path)
    restored = again.log.topic("s", "t").partitions[0]
    assert (restored.first, restored.end, restored.count, restored.segments) == (6, 10, 4, 2)
    span = restored.span(3, 100)
    assert span is not None
    assert (span.first, again.read(restored, span)) == (6, read)
    # What had not been unlinked when the machine stopped is found again, and expires again.
    assert again.expire(99_999)
    assert (restored.first, restored.end) == (9, 10)
    again.close()


def options(*, expiry_us: int | None, segment: int) -> bytes:
    """Options of a topic as a client writes them."""

    def field(kind: int, content: bytes) -> bytes:
        return bytes((kind,)) + len(content).to_bytes(4, "little") + content

    return b"".join(
        field(2, name.encode()) + field(12, value.to_bytes(8, "little"))
        for name, value in (("message_expiry", expiry_us), ("segment_size", segment))
        if value is not None
    )
