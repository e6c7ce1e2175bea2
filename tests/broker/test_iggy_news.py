"""Which partitions a poll of an Iggy server reads: what it is told of them decides, and nothing is left for ever."""

import msgspec
import pytest

from sagas.broker.embedded.replies import stream_details
from sagas.broker.iggy_news import SWEEP_S, News
from sagas.broker.log import Log
from sagas.errors import BrokerUnavailable
from sagas.records import Partition

pytestmark = pytest.mark.anyio


class Told(msgspec.Struct):
    """What a server tells of a partition."""

    id: int
    current_offset: int
    messages_count: int


class Server:
    """A stream whose topics have three partitions each, and what was asked of it."""

    def __init__(self, *topics: str) -> None:
        self._log: Log[None] = Log()
        self._stream = self._log.create_stream("shop", 1)
        for topic in topics:
            self._log.create_topic("shop", topic, 3, 1)
        self.asked: list[str] = []
        self.is_away = False
        self.is_deleted = False

    def append(self, topic: str, partition: int, count: int = 1) -> None:
        """Messages have come."""
        self._log.topic("shop", topic).partitions[partition].append(None, count=count, size=100 * count, now_us=5)

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next message gets."""
        return self._log.topic("shop", topic).partitions[partition].end

    def cut(self, topic: str, partition: int) -> None:
        """All its messages are removed by hand, and it has others."""
        self._log.purge_topic("shop", topic)
        self.append(topic, partition)

    async def stream(self) -> bytes:
        """The reply to GET_STREAM."""
        self._ask("stream")
        return stream_details(self._stream)

    async def ends(self, topic: str) -> list[Told]:
        """How far the partitions of a topic go."""
        self._ask(topic)
        if self.is_deleted:
            return []
        partitions = self._log.topic("shop", topic).partitions
        return [Told(p.id, max(0, p.end - 1), p.count) for p in partitions]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_away:
            raise BrokerUnavailable("away")


class Reader:
    """A member that reads what it is told to, to the end, at a time that stands still."""

    def __init__(self, server: Server, *topics: str, partitions: tuple[int, ...] = (0, 1, 2)) -> None:
        self._server = server
        self.news = News(topics, server)
        self.positions = {(topic, number): 0 for topic in topics for number in partitions}
        self.now_s = 100.0

    async def poll(self) -> tuple[list[str], list[Partition]]:
        """What was asked of the server, and which partitions were polled."""
        self._server.asked.clear()
        await self.news.look(self.positions, self.now_s)
        polled = sorted(self.news.unread)
        found = {at for at in polled if self._server.end(*at) > self.positions[at]}
        self.positions |= {at: self._server.end(*at) for at in polled}
        self.news.are_read(found, self.positions)
        return list(self._server.asked), polled


async def settled(server: Server, *topics: str, partitions: tuple[int, ...] = (0, 1, 2)) -> Reader:
    """A reader that has read everything, and has looked once more."""
    reader = Reader(server, *topics, partitions=partitions)
    assert (await reader.poll())[1] == sorted(reader.positions)
    await reader.poll()
    await reader.poll()
    return reader


async def test_of_one_topic_the_partitions_that_became_longer_are_read_and_no_others() -> None:
    server = Server("orders")
    reader = await settled(server, "orders")
    server.append("orders", 1)
    assert await reader.poll() == (["orders"], [("orders", 1)])
    assert await reader.poll() == (["orders"], [])
    server.append("orders", 0, count=3)
    server.append("orders", 1)
    assert await reader.poll() == (["orders"], [("orders", 0), ("orders", 1)])


async def test_of_several_topics_those_that_changed_are_asked_how_far_they_go() -> None:
    server = Server("orders", "payments", "shipping")
    reader = await settled(server, "orders", "payments", "shipping")
    assert await reader.poll() == (["stream"], [])
    server.append("payments", 2)
    assert await reader.poll() == (["stream", "payments"], [("payments", 2)])
    assert await reader.poll() == (["stream"], [])


async def test_what_came_after_the_look_and_was_read_with_it_is_not_polled_again() -> None:
    server = Server("orders", "payments")
    reader = await settled(server, "orders", "payments")
    server.append("orders", 0)
    await reader.news.look(reader.positions, reader.now_s)
    server.append("orders", 0)  # while it is being read
    reader.positions["orders", 0] = server.end("orders", 0)
    reader.news.are_read({("orders", 0)}, reader.positions)
    assert (await reader.poll())[1] == []


async def test_a_topic_that_had_something_everywhere_is_polled_without_being_asked_how_far_it_goes() -> None:
    server = Server("orders", "payments")
    reader = await settled(server, "orders", "payments")
    for number in range(3):
        server.append("orders", number)
    await reader.poll()
    server.append("orders", 0)
    everywhere = [("orders", 0), ("orders", 1), ("orders", 2)]
    assert await reader.poll() == (["stream"], everywhere)
    server.append("orders", 0)
    assert await reader.poll() == (["stream", "orders"], [("orders", 0)]), "the last time there was one in one of them"


async def test_messages_for_another_members_partitions_are_none_of_ours() -> None:
    server = Server("orders")
    reader = await settled(server, "orders", partitions=(1,))
    server.append("orders", 0)
    server.append("orders", 2)
    assert await reader.poll() == (["orders"], [])


async def test_what_was_not_read_to_its_end_stays_unread_and_nothing_is_asked() -> None:
    server = Server("orders")
    reader = await settled(server, "orders")
    server.append("orders", 1, count=9)
    await reader.news.look(reader.positions, reader.now_s)
    server.asked.clear()
    await reader.news.look(reader.positions, reader.now_s)
    assert reader.news.unread == {("orders", 1)}
    assert server.asked == []


async def test_where_the_server_did_not_answer_everything_is_read() -> None:
    server = Server("orders", "payments")
    reader = await settled(server, "orders", "payments")
    server.append("orders", 1)
    server.is_away = True
    with pytest.raises(BrokerUnavailable):
        await reader.poll()
    server.is_away = False
    assert (await reader.poll())[1] == sorted(reader.positions)


async def test_everything_is_read_now_and_then_and_when_the_partitions_are_dealt_anew() -> None:
    reader = await settled(Server("orders"), "orders")
    reader.now_s += SWEEP_S
    assert await reader.poll() == ([], sorted(reader.positions))
    assert (await reader.poll())[1] == []
    reader.news.forget()
    assert await reader.poll() == ([], sorted(reader.positions))


async def test_a_topic_that_is_not_there_is_polled_all_the_same() -> None:
    server = Server("orders")
    reader = await settled(server, "orders")
    server.is_deleted = True
    assert (await reader.poll())[1] == sorted(reader.positions)


async def test_a_partition_that_ends_before_what_was_read_of_it_was_cut_and_is_to_be_read() -> None:
    server = Server("orders")
    reader = await settled(server, "orders")
    server.append("orders", 1, count=9)
    await reader.poll()
    server.cut("orders", 1)
    await reader.news.look(reader.positions, reader.now_s)
    assert reader.news.cut == {("orders", 1)}
    assert ("orders", 1) in reader.news.unread
    reader.positions["orders", 1] = 0
    reader.news.are_read({("orders", 1)}, {**reader.positions, ("orders", 1): 1})
    reader.positions["orders", 1] = 1
    await reader.news.look(reader.positions, reader.now_s)
    assert reader.news.cut == set()


async def test_a_partition_that_was_read_to_its_end_was_not_cut() -> None:
    server = Server("orders")
    reader = await settled(server, "orders")
    for count in (1, 1, 5):
        server.append("orders", 0, count=count)
        await reader.poll()
        await reader.poll()
        assert reader.news.cut == set()
