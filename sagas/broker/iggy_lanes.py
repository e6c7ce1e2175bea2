"""The connections of one subscription, each of which is the group's member on topics of its own.

Theory of operation. A connection takes one request at a time, and Iggy answers for one partition at a time, a poll not
before what is being appended to that partition is on its disk. So whoever reads several topics has a *lane* for each
of some of them: a connection that has joined the group there and nowhere else, and over which everything about these
topics goes. Lanes do not wait for each other. Where one request reads all partitions (`iggy_together.py`) it is sent in
the name of one member, and there is one lane.

All lanes are members, or the subscription is none: if one is lost, all join again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import anyio

from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_group import IggyGroup
from sagas.broker.iggy_sweep import Sweep
from sagas.errors import BrokerError
from sagas.records import Partition

LANES: Final = 4
"""Connections of a subscription, if it has as many topics."""

T = TypeVar("T")


class Lane:
    """One connection, and the topics that it is a member of the group on."""

    def __init__(self, connection: IggyConnection, stream: str, group: str) -> None:
        self.connection = connection
        self.members = IggyGroup(connection, stream, group)
        self.sweep = Sweep(connection, stream, group)
        self.topics: Sequence[str] = ()
        self._joined_epoch = 0
        self._made: dict[str, dict[int, int]] = {}

    @property
    def is_member(self) -> bool:
        """Whether it has joined, and nothing is known against its connection."""
        return self.connection.is_connected and self._joined_epoch == self.connection.epoch

    async def join(self) -> None:
        """Be a member on each of its topics. Raises what joining raises."""
        await self.connection.connect()
        epoch = self.connection.epoch
        for topic in self.topics:
            await self.members.join(topic)
        self._joined_epoch = epoch

    async def partitions(self, topic: str) -> tuple[int, list[Partition]]:
        """How many partitions a topic has, 0 when it is not there; and those that were made anew since it was asked.

        How large its messages are is noted beside.
        """
        extent = await self.members.extent(topic)
        self.sweep.portion_of(topic).note_size(extent.messages, extent.size)
        before, self._made[topic] = self._made.get(topic, {}), extent.made
        anew = [(topic, number) for number, at_us in extent.made.items() if before.get(number, at_us) != at_us]
        return len(extent.made), anew

    async def leave(self) -> None:
        """Be a member no more. Raises BrokerError."""
        if self.is_member:
            for topic in self.topics:
                await self.members.leave(topic)


class Lanes:
    """The lanes of one subscription. `deal` says which are used, and for which topics."""

    def __init__(self, connections: Sequence[IggyConnection], stream: str, group: str, topics: Sequence[str]) -> None:
        self._all = [Lane(connection, stream, group) for connection in connections]
        self._topics = topics
        self._of: dict[str, Lane] = {}
        self.used: Sequence[Lane] = ()

    @property
    def first(self) -> Lane:
        """The one that is always used."""
        return self._all[0]

    @property
    def are_members(self) -> bool:
        """Whether all that are used have joined."""
        return bool(self.used) and all(lane.is_member for lane in self.used)

    def deal(self, *, is_one: bool) -> None:
        """Give the topics to the lanes in turn, or all to the first. Those that are not used give up theirs.

        A lane that is left fewer topics gives up its connection: on the others it would stay a member that owns
        partitions and reads none of them, and that nothing ever removes.
        """
        self.used = self._all[: 1 if is_one else len(self._all)]
        for index, lane in enumerate(self.used):
            topics = self._topics[index :: len(self.used)]
            if not set(lane.topics) <= set(topics):
                lane.connection.drop()
            lane.topics = topics
        self._of = {topic: lane for lane in self.used for topic in lane.topics}
        for lane in self._all[len(self.used) :]:
            lane.connection.drop()

    def of(self, topic: str) -> Lane:
        """The lane of a topic."""
        return self._of[topic]

    async def each(self, work: Callable[[Lane], Awaitable[T]], lanes: Sequence[Lane] | None = None) -> list[T]:
        """What `work` comes to in those lanes, by default in all that are used, side by side.

        Raises BrokerError when it fails in one of them, once it has ended in all.
        """
        lanes = self.used if lanes is None else lanes
        if len(lanes) == 1:
            return [await work(lanes[0])]
        done: dict[int, T] = {}
        failures: list[BrokerError] = []

        async def run(index: int, lane: Lane) -> None:
            try:
                done[index] = await work(lane)
            except BrokerError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for index, lane in enumerate(lanes):
                tasks.start_soon(run, index, lane)
        if failures:
            raise failures[0]
        return [done[index] for index in range(len(lanes))]

    def drop(self) -> None:
        """Have all join again."""
        for lane in self._all:
            lane.connection.drop()

    def close(self) -> None:
        """Give up the connections."""
        for lane in self._all:
            lane.connection.close()
