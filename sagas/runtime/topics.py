"""Topics that were there and are not any more: made again by whoever makes them at its start.

A broker that has lost its disk comes back empty, and a person can remove a topic. What was in it is gone; but the
commands and answers among it are asked for again by whoever waits for them, under the ids that they had, so all that
is needed is that the topics are there. Without this each process would have to be started anew.
"""

import logging
from collections.abc import Sequence

from sagas.errors import BrokerError, TopicMissing
from sagas.ports import Broker, TopicSpec

_log = logging.getLogger("sagas.topics")


class Topics:
    """The topics that a process has there at its start, and again when one is missing later."""

    def __init__(self, broker: Broker, specs: Sequence[TopicSpec]) -> None:
        self._broker = broker
        self._specs = specs

    async def ensure(self) -> None:
        """Have them there. Raises BrokerError."""
        await self._broker.ensure(self._specs)

    async def mend(self, error: Exception) -> None:
        """Make them again if `error` is that one of them is missing. What the broker refuses of it is logged."""
        if not isinstance(error, TopicMissing) or all(spec.name != error.topic for spec in self._specs):
            return
        try:
            await self.ensure()
        except BrokerError as refused:
            _log.warning("topic %r could not be made again: %s", error.topic, refused)
        else:
            _log.warning("topic %r was gone and is made again: who waits for what it held asks for it", error.topic)
