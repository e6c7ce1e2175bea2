"""Being told of messages instead of asking again and again, by a server that can tell.

Theory of operation. The embedded broker has one request that Iggy has not (`embedded/arrivals.py`): it answers when
one of the partitions that are named has the message that is named. It is sent on a connection of its own, since a
connection takes one request at a time, and a commit must not wait for a message. What it says is a hint: the
partitions it names are polled as ever. A server that refuses is taken for one that cannot tell, and asked again after
`ASK_AGAIN_S`, for it may be another one by then.
"""

import asyncio
from collections.abc import Mapping, Sequence

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import IggyConnection
from sagas.broker.iggy_errors import Refused
from sagas.records import Partition

ASK_AGAIN_S = 10.0


class Arrivals:
    """What one subscription is told of its partitions."""

    def __init__(self, connection: IggyConnection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._ask_at = 0.0

    async def wait(
        self, order: Sequence[Partition], following: Mapping[Partition, int], at_most_ms: int
    ) -> list[Partition] | None:
        """Those of `order` that have the message at the offset in `following`; None when the server cannot tell.

        Returns as soon as there is one, after `at_most_ms` at the latest. Raises BrokerUnavailable.
        """
        loop = asyncio.get_running_loop()
        if not order or loop.time() < self._ask_at:
            return None
        body = wire.wait_for(self._stream, at_most_ms, [(*at, following[at]) for at in order])
        try:
            reply = await self._connection.call(
                "wait for messages", lambda client: client.send_binary_request(wire.WAIT_FOR_MESSAGES, body)
            )
        except Refused:
            self._ask_at = loop.time() + ASK_AGAIN_S
            return None
        return [order[place] for place in wire.read_places(reply) if place < len(order)]

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()
