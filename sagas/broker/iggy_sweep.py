"""Polling one partition after the other, which every Iggy server can; and what becomes of what was read."""

import struct
from collections.abc import MutableMapping, Sequence
from typing import Final, NamedTuple

from apache_iggy import Consumer, PollingStrategy, ReceiveMessage

from sagas.broker.batch_messages import decode_batches
from sagas.broker.batches import BadBatch
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_messages import note_missed, read_message
from sagas.broker.iggy_portion import Portion
from sagas.errors import BrokerUnavailable
from sagas.ports import Incoming
from sagas.records import Partition

CUT_BYTES_MIN: Final = 1_500_000
"""What was read may be less than there is, though fewer messages than were asked for, from this size on.

The embedded broker leaves out what its reply has no room for. A frame has 67.1 MB, the largest message with its headers
64.1 (`outgoing.py`), and the payloads of a batch that begins before what was asked for 1 (`iggy_sender.py`): so a reply
that leaves something out is not smaller. Iggy leaves out nothing.
"""

_HEADER_FRAMING_BYTES: Final = 10


class Read(NamedTuple):
    """What was read of a partition, from `offset` on, and how many bytes that are, roughly."""

    at: Partition
    offset: int
    messages: list[Incoming]
    size: int
    is_portion: bool = False
    """Whether fewer were asked for than might have been, and as many came."""


def is_maybe_cut(read: Sequence[Read]) -> bool:
    """Whether there may be more messages than were read at once."""
    return any(part.is_portion for part in read) or sum(part.size for part in read) >= CUT_BYTES_MIN


def decoded(found: Sequence[tuple[Partition, int, bytes]], group: str) -> list[Read]:
    """What was read together. Raises BrokerUnavailable for what is no batch."""
    try:
        return [Read(at, offset, decode_batches(*at, batches), len(batches)) for at, offset, batches in found]
    except (BadBatch, struct.error) as error:
        raise BrokerUnavailable(f"group {group!r}: what was read is no batch: {error}") from None


def take(
    read: Sequence[Read], following: MutableMapping[Partition, int], count_max: int, group: str
) -> tuple[list[Incoming], list[Read]]:
    """At most `count_max` messages of what was read, and the rest of it.

    `following`, what is to be read next of each partition of `group`, is moved on. What is not the next is dropped.
    """
    found: list[Incoming] = []
    rest: list[Read] = []
    for part in read:
        if following.get(part.at) != part.offset or not part.messages:
            continue
        taken = part.messages[: count_max - len(found)]
        if taken:
            note_missed(part.at, taken[0].offset - part.offset, group)
            found += taken
            following[part.at] = taken[-1].offset + 1
        if len(taken) < len(part.messages):
            rest.append(part._replace(offset=following[part.at], messages=part.messages[len(taken) :]))
    return found, rest


class Sweep:
    """Polls over one connection, in the name of a group."""

    def __init__(self, connection: IggyConnection, stream: str, group: str) -> None:
        self._connection = connection
        self._stream = stream
        self._consumer = Consumer.Group(group)
        self._portions: dict[str, Portion] = {}

    def portion_of(self, topic: str) -> Portion:
        """How many messages of a topic are asked for at once."""
        return self._portions.setdefault(topic, Portion())

    async def read(self, wanted: Sequence[tuple[Partition, int]], count_max: int) -> list[Read]:
        """At most `count_max` messages of partitions, each from its offset on. Raises BrokerError; then of none."""
        found: list[Read] = []
        for at, offset in wanted:
            portion = self.portion_of(at[0])
            asked = portion.of(count_max)
            try:
                polled = await self._poll(at, offset, asked)
            except BrokerUnavailable:
                portion.note_failed(asked)
                raise
            if polled:
                messages = [read_message(at[0], message) for message in polled]
                size = sum(map(size_of, messages))
                portion.note_came(asked)
                portion.note_size(len(messages), size)
                found.append(Read(at, offset, messages, size, len(polled) == asked < count_max))
                count_max -= len(polled)
                if count_max <= 0:
                    break
        return found

    async def _poll(self, at: Partition, offset: int, count_max: int) -> list[ReceiveMessage]:
        topic, partition = at
        return await self._connection.call(
            f"poll {topic!r}/{partition}",
            lambda client: client.poll_messages(
                self._stream,
                topic,
                consumer=self._consumer,
                polling_strategy=PollingStrategy.Offset(offset),
                count=count_max,
                auto_commit=False,
                partition_id=partition,
            ),
        )


def size_of(message: Incoming) -> int:
    """Roughly its bytes."""
    headers = message.headers
    return len(message.payload) + sum(len(name) + len(headers[name]) + _HEADER_FRAMING_BYTES for name in headers)
