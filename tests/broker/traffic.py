"""Messages that can be told apart, and reading them with a bound: what the tests of brokers share."""

from collections.abc import Callable, Sequence
from random import Random
from uuid import UUID

import anyio

from sagas.broker.partitioning import partition_of
from sagas.ports import Broker, Incoming, Outgoing, Position, Subscription, TopicSpec

PATIENCE_S = 10.0
ORDERS = TopicSpec(name="orders", partitions=3)


def outgoing(number: int, key: str = "k", topic: str = "orders") -> Outgoing:
    """Message `number`, recognisable by its id and its payload."""
    return Outgoing(id=str(UUID(int=number + 1)), topic=topic, key=key, payload=f"message {number}".encode())


def key_of(partition: int, partitions: int = 3) -> str:
    """Some key that belongs to `partition`."""
    return next(key for key in map(str, range(1000)) if partition_of(key, partitions) == partition)


def spread(count: int) -> list[Outgoing]:
    """Messages dealt out over the three partitions in turn."""
    return [outgoing(number, key_of(number % 3)) for number in range(count)]


def numbers(messages: Sequence[Incoming]) -> list[int]:
    """Which messages these are, sorted."""
    return sorted(UUID(message.id).int - 1 for message in messages)


def positions(messages: Sequence[Incoming]) -> list[Position]:
    """What to commit when all of `messages` are dealt with."""
    ends = {(message.topic, message.partition): message.offset for message in messages}
    return [Position(topic=topic, partition=number, offset=offset) for (topic, number), offset in ends.items()]


async def read(subscription: Subscription, count: int, count_max: int = 1000) -> list[Incoming]:
    """Poll until there are `count` messages; fails when they do not come."""
    found: list[Incoming] = []
    with anyio.fail_after(PATIENCE_S):
        while len(found) < count:
            polled = await subscription.poll(count_max)
            found.extend(polled)
            if not polled:
                await anyio.sleep(0.01)
    return found


async def read_and_commit(subscription: Subscription, count: int) -> list[Incoming]:
    """Poll until there are `count` messages, and commit them."""
    found = await read(subscription, count)
    await subscription.commit(positions(found))
    return found


class Turmoil:
    """Members that come, read, commit, rewind and go in an order given by a seed.

    A message counts as handled when somebody who was given it committed it. What no member handled has
    to be given to the last one; a message that is not was skipped.
    """

    def __init__(self, seed: int, connect: Callable[[], Broker]) -> None:
        self._random = Random(seed)
        self._connect = connect
        self._members: list[tuple[Broker, Subscription, list[Incoming]]] = []
        self._published = 0
        self._handled: set[int] = set()

    async def skipped(self, steps: int) -> set[int]:
        """Do `steps` things, let one new member read whatever is left, and say what nobody handled."""
        publisher = self._connect()
        await publisher.ensure([ORDERS])
        for _ in range(steps):
            match self._random.choices(["publish", "join", "leave", "poll", "commit", "rewind"], [4, 1, 1, 8, 4, 1])[0]:
                case "publish":
                    await self._publish(publisher)
                case "join" if len(self._members) < 4:
                    broker = self._connect()
                    self._members.append((broker, await broker.subscribe("workers", ["orders"]), []))
                case what if self._members:
                    await self._one(what, self._random.randrange(len(self._members)))
                case _:
                    pass
        for broker, _, _ in self._members:
            await broker.close()
        last = await self._connect().subscribe("workers", ["orders"])
        with anyio.move_on_after(PATIENCE_S):
            while len(self._handled) < self._published:
                self._handled.update(numbers(await last.poll(100)))
                await anyio.sleep(0.001)
        return set(range(self._published)) - self._handled

    async def _publish(self, publisher: Broker) -> None:
        count = self._random.randint(1, 5)
        first, self._published = self._published, self._published + count
        await publisher.publish(
            [outgoing(number, key_of(self._random.randrange(3))) for number in range(first, self._published)]
        )

    async def _one(self, what: str, at: int) -> None:
        broker, subscription, in_hand = self._members[at]
        match what:
            case "poll":
                in_hand.extend(await subscription.poll(self._random.randint(1, 6)))
            case "commit":
                done = in_hand[: self._random.randint(0, len(in_hand))]
                self._handled.update(numbers(done))
                await subscription.commit(positions(done))
                del in_hand[: len(done)]
            case "rewind":
                await subscription.rewind()
                in_hand.clear()
            case "leave":
                await broker.close()
                del self._members[at]
            case _:
                pass
