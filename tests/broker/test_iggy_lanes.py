"""A subscription reads several topics over a connection each, where one request does not read them all."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

import anyio
import pytest

from sagas.broker.connection_string import parse_connection_string
from sagas.broker.iggy import IggyBroker
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_lanes import Lane, Lanes
from sagas.broker.iggy_subscription import IggySubscription
from sagas.errors import BrokerUnavailable
from sagas.ports import TopicSpec
from tests.broker.test_contract_iggy import embedded_server
from tests.broker.traffic import PATIENCE_S, key_of, numbers, outgoing, positions, read_and_commit

pytestmark = pytest.mark.anyio

TOPICS = ("orders", "payments", "shipping")


def connections(where: str, count: int) -> list[IggyConnection]:
    """Some that are not connected yet."""
    return [IggyConnection(parse_connection_string(where), 5.0) for _ in range(count)]


def lanes(topics: Sequence[str], count: int) -> Lanes:
    """Lanes that nothing is sent over."""
    return Lanes(connections("iggy://a:b@127.0.0.1:1", count), "shop", "workers", topics)


async def test_topics_are_dealt_to_the_lanes_in_turn_or_all_to_one() -> None:
    dealt = lanes(["a", "b", "c", "d", "e"], 2)
    dealt.deal(is_one=False)
    assert [list(lane.topics) for lane in dealt.used] == [["a", "c", "e"], ["b", "d"]]
    assert dealt.of("d") is dealt.used[1]
    dealt.deal(is_one=True)
    assert [list(lane.topics) for lane in dealt.used] == [["a", "b", "c", "d", "e"]]
    assert dealt.of("d") is dealt.first


async def test_lanes_do_not_wait_for_each_other_and_answer_in_their_order() -> None:
    dealt = lanes(["a", "b"], 2)
    dealt.deal(is_one=False)
    is_second_done = anyio.Event()

    async def work(lane: Lane) -> str:
        if lane is dealt.first:
            await is_second_done.wait()
        else:
            is_second_done.set()
        return lane.topics[0]

    with anyio.fail_after(PATIENCE_S):
        assert await dealt.each(work) == ["a", "b"]


async def test_what_fails_in_one_lane_is_raised_once_the_others_have_ended() -> None:
    dealt = lanes(["a", "b"], 2)
    dealt.deal(is_one=False)
    has_failed, ended = anyio.Event(), list[str]()

    async def work(lane: Lane) -> None:
        if lane is dealt.first:
            has_failed.set()
            raise BrokerUnavailable("gone")
        await has_failed.wait()
        ended.append(lane.topics[0])

    with pytest.raises(BrokerUnavailable, match="gone"):
        await dealt.each(work)
    assert ended == ["b"]


@pytest.fixture(params=["--iggy-only", ""], ids=["plain", "together"], scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bool]]:
    """Where an embedded broker is, and whether it reads several partitions in one request."""
    options = [request.param] if request.param else []
    with embedded_server(tmp_path_factory.mktemp("lanes"), *options) as running:
        yield running.connection_string, not request.param


async def test_a_member_that_loses_one_of_its_connections_joins_again_and_misses_nothing(
    server: tuple[str, bool],
) -> None:
    where, is_together = server
    stream = f"lanes-{uuid4().hex[:12]}"
    broker = IggyBroker.from_connection_string(where, stream=stream)
    await broker.ensure([TopicSpec(name=topic, partitions=2) for topic in TOPICS])
    reading = connections(where, 3)
    (waiting,) = connections(where, 1)
    subscription = IggySubscription(reading, waiting, stream, "workers", TOPICS)
    await subscription.join()
    assert [connection.is_connected for connection in reading] == [True, not is_together, not is_together]
    for first, lost in zip(range(0, 36, 12), reading, strict=True):
        await broker.publish(
            [outgoing(number, f"k-{number}", TOPICS[number % 3]) for number in range(first, first + 12)]
        )
        assert numbers(await read_and_commit(subscription, 12)) == list(range(first, first + 12))
        lost.drop()
    await broker.publish([outgoing(99)])
    assert numbers(await read_and_commit(subscription, 1)) == [99]
    assert sorted(subscription.owned) == [(topic, number) for topic in TOPICS for number in range(2)]
    await subscription.close()
    await broker.close()


async def test_a_topic_that_is_deleted_and_made_again_leaves_nothing_of_the_others_unread(
    server: tuple[str, bool],
) -> None:
    where, _ = server
    stream = f"lanes-{uuid4().hex[:12]}"
    broker = IggyBroker.from_connection_string(where, stream=stream)
    specs = [TopicSpec(name=topic, partitions=2) for topic in TOPICS]
    await broker.ensure(specs)
    subscription = await broker.subscribe("workers", TOPICS)
    await subscription.poll(1)
    (other,) = connections(where, 1)
    await other.call("delete topic", lambda client: client.delete_topic(stream, "orders"))
    # A reader of all partitions at once is refused now, and goes on by one connection for each topic.
    assert not await subscription.wait(0)
    await broker.ensure(specs)
    await broker.publish([outgoing(number, f"k-{number}", TOPICS[number % 3]) for number in range(36)])
    found = set[int]()
    with anyio.fail_after(PATIENCE_S):
        while len(found) < 36:  # Some come twice: who joins again goes on from the stored offsets.
            found |= set(numbers(await read_and_commit(subscription, 1)))
    assert [len(await broker.owners("workers", topic)) for topic in TOPICS] == [1, 1, 1]
    other.close()
    await broker.close()


async def test_what_lanes_read_beyond_what_a_poll_may_return_comes_with_the_next_though_a_member_has_joined(
    server: tuple[str, bool],
) -> None:
    where, _ = server
    stream = f"lanes-{uuid4().hex[:12]}"
    broker, other = (IggyBroker.from_connection_string(where, stream=stream) for _ in range(2))
    topics = TOPICS[:2]
    await broker.ensure([TopicSpec(name=topic, partitions=3) for topic in topics])
    one = await broker.subscribe("workers", topics)
    of_orders = [outgoing(number, key_of(0)) for number in range(30)]
    await broker.publish([*of_orders, *(outgoing(number, key_of(2), topics[1]) for number in range(30, 40))])
    found = list(await one.poll(30))
    two = await other.subscribe("workers", topics)
    with anyio.fail_after(PATIENCE_S):
        while len(found) < 40:
            await one.commit(positions(found))
            for member in (one, two):
                polled = await member.poll(30)
                await member.commit(positions(polled))
                found += polled
    assert numbers(found) == list(range(40))
    await other.close()
    await broker.close()


async def test_what_is_waited_for_does_not_take_the_place_of_what_was_left_over(server: tuple[str, bool]) -> None:
    where, is_together = server
    broker = IggyBroker.from_connection_string(where, stream=f"lanes-{uuid4().hex[:12]}")
    await broker.ensure([TopicSpec(name=topic, partitions=1) for topic in TOPICS])
    subscription = await broker.subscribe("workers", TOPICS)
    await broker.publish([outgoing(number, topic=TOPICS[number % 3]) for number in range(30)])
    found = list(await subscription.poll(7))
    with anyio.fail_after(PATIENCE_S):
        while len(found) < 30:
            assert await subscription.wait(0) is is_together
            found += await subscription.poll(4)
    assert numbers(found) == list(range(30))
    await broker.close()
