"""The real client, unchanged, against the broker in a process of its own."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from apache_iggy import (
    AutoCommit,
    AutoLogin,
    Consumer,
    Durability,
    IggyClient,
    IggyExpiry,
    Partitioning,
    PollingStrategy,
    ReceiveMessage,
    SendMessage,
    TcpConfig,
    TcpReconnectionConfig,
    TopicDetails,
)

from tests.wire.running import RunningBroker, running_broker

pytestmark = pytest.mark.e2e

_BEFORE_EXIT_S = 0.06
"""The client's threads may abort the interpreter when the loop ends right after the last answer."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One broker for all stories that do not stop it."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
        assert running.end() == (0, "")


async def connected(address: str) -> IggyClient:
    client = IggyClient(
        TcpConfig(
            server_address=address,
            auto_login=AutoLogin.username_password("iggy", "iggy"),
            reconnection=TcpReconnectionConfig(max_retries=0, reestablish_after=timedelta(0)),
            heartbeat_interval=timedelta(milliseconds=200),
            nodelay=True,
        )
    )
    await client.connect()
    return client


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(story(), 10)
        await asyncio.sleep(_BEFORE_EXIT_S)

    asyncio.run(whole())


def texts(messages: list[ReceiveMessage]) -> list[str]:
    return [message.payload().decode() for message in messages]


def test_messages_come_back_with_headers_ids_and_times(broker: RunningBroker) -> None:
    async def story() -> None:
        client = await connected(broker.address)
        await client.create_stream("a")
        await client.create_topic("a", "t", 3, message_expiry=IggyExpiry.ExpireDuration(timedelta(seconds=60)))
        topic = await client.get_topic("a", "t")
        assert topic is not None
        assert [partition.id for partition in topic.partitions] == [0, 1, 2]
        sent = await client.send_messages(
            "a", "t", Partitioning.messages_key("user-1"), [SendMessage("one", user_headers={"k": "v"}, id=77)]
        )
        (confirmation,) = sent.confirmations
        # XXH32 of the key is 0xa43fb6ad.
        assert (confirmation.partition_id, confirmation.base_offset) == (0xA43FB6AD % 3, 0)
        (message,) = await client.poll_messages(
            "a",
            "t",
            consumer=Consumer.Single("c"),
            polling_strategy=PollingStrategy.First(),
            count=10,
            auto_commit=False,
            partition_id=confirmation.partition_id,
        )
        headers = message.user_headers()
        assert headers is not None
        assert (message.payload(), message.id(), headers.to_scalar_dict()) == (b"one", 77, {"k": "v"})
        assert message.timestamp() >= message.origin_timestamp() > 0

    run(story)


def test_refusals_read_as_those_of_iggy(broker: RunningBroker) -> None:
    async def story() -> None:
        client = await connected(broker.address)
        await client.create_stream("b")
        await client.create_topic("b", "t", 1)
        with pytest.raises(RuntimeError, match="already exists"):
            await client.create_stream("b")
        with pytest.raises(RuntimeError, match="was not found"):
            await client.send_messages("b", "missing", 0, [SendMessage("x")])
        with pytest.raises(RuntimeError, match="was not found"):
            await client.join_consumer_group("b", "t", "missing")
        with pytest.raises(RuntimeError, match="Unsupported option"):
            await client.create_topic("b", "u", 1, options={"colour": "blue"})
        assert await client.get_topic("b", "missing") is None

    run(story)


def test_a_consumer_group_hands_everything_over_once(broker: RunningBroker) -> None:
    async def story() -> None:
        first, second = await connected(broker.address), await connected(broker.address)
        await first.create_stream("c")
        await first.create_topic("c", "t", 2)
        for partition in range(2):
            await first.send_messages("c", "t", partition, [SendMessage(f"{partition}/{n}") for n in range(5)])
        for client in (first, second):
            if client is first:
                await client.create_consumer_group("c", "t", "g")
            await client.join_consumer_group("c", "t", "g")
        shares = [await _poll_group(client) for client in (first, second)]
        assert [sorted(share) for share in shares] == [
            [f"{partition}/{number}" for number in range(5)] for partition in range(2)
        ]
        await second.leave_consumer_group("c", "t", "g")
        await first.send_messages("c", "t", 1, [SendMessage("after")])
        rest: list[str] = []
        while not rest:
            rest = await _poll_group(first)
        assert rest == ["after"]

    run(story)


async def _poll_group(client: IggyClient) -> list[str]:
    messages: list[ReceiveMessage] = []
    for _ in range(2):
        messages += await client.poll_messages(
            "c",
            "t",
            consumer=Consumer.Group("g"),
            polling_strategy=PollingStrategy.Next(),
            count=10,
            auto_commit=True,
        )
    return texts(messages)


def test_after_a_kill_a_consumer_goes_on_where_it_committed(tmp_path: Path) -> None:
    async def before(address: str) -> None:
        client = await connected(address)
        await client.create_stream("d")
        await client.create_topic(
            "d", "t", 1, durability=Durability.PERSISTED, consumer_offset_durability=Durability.PERSISTED
        )
        await client.send_messages("d", "t", 0, [SendMessage(str(number)) for number in range(10)])
        assert await read(client, 4) == ["0", "1", "2", "3"]

    async def after(address: str) -> None:
        client = await connected(address)
        assert await read(client, 4) == ["4", "5", "6", "7"]

    async def read(client: IggyClient, count: int) -> list[str]:
        consumer = await client.consumer_group(
            "g",
            "d",
            "t",
            polling_strategy=PollingStrategy.Next(),
            batch_length=2,
            auto_commit=AutoCommit.Disabled(),
            poll_interval=timedelta(milliseconds=2),
        )
        taken: list[str] = []
        async for message in consumer.iter_messages():
            taken.append(message.payload().decode())
            await consumer.store_offset(message.offset(), message.partition_id())
            if len(taken) == count:
                break
        return taken

    with running_broker(tmp_path) as broker:
        run(lambda: before(broker.address))
        broker.end(signal.SIGKILL)
    with running_broker(tmp_path) as broker:
        run(lambda: after(broker.address))


def test_what_expires_is_gone_and_readers_go_on_behind_it(broker: RunningBroker) -> None:
    async def story() -> None:
        client = await connected(broker.address)
        await client.create_stream("e")
        expiry = IggyExpiry.ExpireDuration(timedelta(seconds=1))
        await client.create_topic("e", "t", 1, message_expiry=expiry, segment_size=512)
        await client.create_topic("e", "kept", 1, message_expiry=IggyExpiry.NeverExpire(), segment_size=512)
        for number in range(6):
            for topic in ("t", "kept"):
                await client.send_messages("e", topic, 0, [SendMessage(f"old {number}")])
        assert await _next(client, "t", 2) == [0, 1]
        left = await _topic(client, "t")
        for _ in range(90):  # looked for every 5 s
            if left.messages_count < 6:
                break
            await asyncio.sleep(0.1)
            left = await _topic(client, "t")
        assert left.messages_count == left.partitions[0].messages_count < 6
        assert (await _topic(client, "kept")).messages_count == 6

        await client.send_messages("e", "t", 0, [SendMessage("new")])
        offsets = await _next(client, "t", 100)
        assert offsets == list(range(7 - left.messages_count - 1, 7)), "from the oldest that is left, without a gap"

    run(story)


async def _topic(client: IggyClient, name: str) -> TopicDetails:
    details = await client.get_topic("e", name)
    assert details is not None
    return details


async def _next(client: IggyClient, topic: str, count: int) -> list[int]:
    messages = await client.poll_messages(
        "e",
        topic,
        consumer=Consumer.Single("reader"),
        polling_strategy=PollingStrategy.Next(),
        count=count,
        auto_commit=True,
        partition_id=0,
    )
    return [message.offset() for message in messages]
