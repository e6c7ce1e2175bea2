"""How far a group is behind: what it has not dealt with of what is there still."""

from pathlib import Path

import pytest

from sagas.broker.embedded.changes import GroupCreated, StreamCreated, TopicCreated
from sagas.broker.embedded.disk import Disk
from sagas.broker.iggy import IggyBroker
from sagas.broker.log import Membership
from tests.broker.test_contract_iggy import embedded_server
from tests.wire.test_disk import options, written

pytestmark = pytest.mark.anyio

YEARS_US = 10**15


def a_log(data: Path) -> None:
    """Of ten messages of partition 0 `g` has dealt with all, `away` with four, and all but the last have expired; of
    partition 1 nobody has dealt with any of six."""
    disk = Disk(data)
    disk.change(StreamCreated(name="s", at_us=0))
    small = options(expiry_us=YEARS_US, segment=1)
    disk.change(TopicCreated(stream=0, name="t", partitions=2, at_us=0, options=small))
    for group in ("g", "away"):
        disk.change(GroupCreated(stream=0, topic=0, name=group))
    topic = disk.log.topic("s", "t")
    for _ in range(10):
        written(disk, topic.partitions[0], b"x")
    disk.note_offset(topic.partitions[0], Membership(topic.group("g"), 1), 9)
    disk.note_offset(topic.partitions[0], Membership(topic.group("away"), 1), 3)
    for file, remove in disk.expire(YEARS_US + 100):
        file.sync()
        remove()
    for _ in range(6):
        written(disk, topic.partitions[1], b"x")
    assert [(partition.count, partition.end) for partition in topic.partitions] == [(1, 10), (6, 6)]
    disk.close()


async def test_what_has_expired_does_not_hide_what_waits_in_another_partition(tmp_path: Path) -> None:
    a_log(tmp_path)
    with embedded_server(tmp_path) as server:
        broker = IggyBroker.from_connection_string(server.connection_string, stream="s")
        assert await broker.lag("g", ["t"]) == {"t": 6}
        await broker.close()


async def test_a_group_that_is_not_there_yet_has_everything_before_it_and_a_missing_topic_nothing(
    tmp_path: Path,
) -> None:
    a_log(tmp_path)
    with embedded_server(tmp_path) as server:
        broker = IggyBroker.from_connection_string(server.connection_string, stream="s")
        assert await broker.lag("new", ["t", "nowhere"]) == {"t": 7, "nowhere": 0}
        await broker.close()


async def test_what_has_expired_since_a_group_was_away_does_not_wait_for_it(tmp_path: Path) -> None:
    a_log(tmp_path)
    with embedded_server(tmp_path) as server:
        broker = IggyBroker.from_connection_string(server.connection_string, stream="s")
        assert await broker.lag("away", ["t"]) == {"t": 7}
        await broker.close()
