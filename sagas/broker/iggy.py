"""Apache Iggy as the broker: the port `Broker` on the real client.

Theory of operation. Some connections send (`iggy_sender.py`). Every subscription has connections of its own to poll
and commit on (`iggy_lanes.py`), because a connection takes one request at a time and a poll must not wait for a send.
Whatever is lost comes back by itself at the next call (`iggy_connection.py`), and whatever is unknown is
raised as BrokerUnavailable: the caller, who has the messages in its outbox, does it again.

Topics are made so that an acknowledged message is on disk, message by message, where the server has
that: an ordinary acknowledgement comes from its memory. Topics that are there are taken as they are, with a
warning where they forget sooner than they are meant to.
"""

import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

import anyio
from apache_iggy import Durability, IggyExpiry

from sagas.broker import iggy_wire as wire
from sagas.broker.connection_string import (
    HEARTBEAT_MS,
    Credentials,
    IggyAddress,
    checked_server,
    parse_connection_string,
)
from sagas.broker.iggy_connection import SETTLE_S, IggyConnection
from sagas.broker.iggy_direct import DirectConnection, is_direct
from sagas.broker.iggy_errors import Refusal, Refused
from sagas.broker.iggy_lag import lag_of
from sagas.broker.iggy_lanes import LANES
from sagas.broker.iggy_scan import IggyScan
from sagas.broker.iggy_sender import SEND_COUNT_MAX, SENDERS, IggySender
from sagas.broker.iggy_subscription import IggySubscription
from sagas.broker.outgoing import checked_name
from sagas.errors import BrokerError, SettingsError
from sagas.ports import Incoming, Outgoing, Settled, Subscription, TopicSpec

CALL_TIMEOUT_S = 5.0
"""For one request, connecting included once. Longer than two failed dials, shorter than a person's patience."""


_log = logging.getLogger("sagas.broker")


class IggyBroker:
    """Streams of messages on an Iggy server; see `ports.Broker`. Nothing is connected before the first call."""

    def __init__(
        self,
        address: str = "127.0.0.1:8090",
        *,
        username: str,
        password: str,
        stream: str,
        call_timeout_s: float = CALL_TIMEOUT_S,
        heartbeat_ms: int = HEARTBEAT_MS,
        send_count_max: int = SEND_COUNT_MAX,
    ) -> None:
        """`address` is host:port. Raises SettingsError for an address or a name that cannot be."""
        who = Credentials(username=username, password=password)
        there = IggyAddress(server=checked_server(address), credentials=who, heartbeat_ms=heartbeat_ms)
        self._set_up(there, stream, call_timeout_s, send_count_max)

    @classmethod
    def from_connection_string(
        cls, text: str, *, stream: str, call_timeout_s: float = CALL_TIMEOUT_S, send_count_max: int = SEND_COUNT_MAX
    ) -> "IggyBroker":
        """The broker at `iggy://user:password@host:port[?options]`. Raises SettingsError."""
        broker = cls.__new__(cls)
        broker._set_up(parse_connection_string(text), stream, call_timeout_s, send_count_max)
        return broker

    def _set_up(self, address: IggyAddress, stream: str, call_timeout_s: float, send_count_max: int) -> None:
        if not call_timeout_s > 0:
            raise SettingsError(f"call_timeout_s: {call_timeout_s} has to be above 0")
        if send_count_max < 1:
            raise SettingsError(f"send_count_max: {send_count_max} has to be at least 1")
        self._address = address
        self._stream = checked_name("stream", stream)
        self._timeout_s = call_timeout_s
        self._sending = IggyConnection(address, call_timeout_s)
        others = [IggyConnection(address, call_timeout_s) for _ in range(SENDERS - 1)]
        self._sender = IggySender(
            [self._sending, *others], self._passing() or self._sending, self._stream, send_count_max
        )
        self._subscriptions: list[IggySubscription] = []
        self._is_closed = False

    def __repr__(self) -> str:
        """Where it is, and never how to get in."""
        return f"IggyBroker({self._address.server!r}, stream={self._stream!r})"

    async def ensure(self, topics: Sequence[TopicSpec]) -> None:
        """Have the stream and the topics there; see `ports.Broker`."""
        for spec in topics:
            checked_name("topic", spec.name)
        stream = self._stream
        if await self._sending.call(f"get stream {stream!r}", lambda client: client.get_stream(stream)) is None:
            try:
                await self._sending.call(f"create stream {stream!r}", lambda client: client.create_stream(stream))
            except Refused as refused:
                if refused.refusal is not Refusal.EXISTS:  # Somebody else was as quick: good.
                    raise
        for spec in topics:
            details = await self._sender.details(spec.name)
            if details is None:
                await self._create(spec)
            else:
                _warn_of_expiry(spec, details.message_expiry)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Append all; see `ports.Broker`.

        Raises BrokerError naming the message, before anything is sent, when Iggy cannot take one.
        """
        await self._sender.publish(messages)

    def send(self, messages: Sequence[Outgoing], settled: Settled) -> bool:
        """Begin to publish, where the server is the embedded broker on this machine; see `ports.PromptBroker`."""
        return self._sender.begin(messages, settled)

    async def subscribe(self, group: str, topics: Sequence[str]) -> Subscription:
        """Join the group on each of `topics`; see `ports.Broker`. Raises BrokerError when a topic is not there."""
        if self._is_closed:
            raise BrokerError(f"{self!r}: closed")
        checked_name("group", group)
        lanes = max(1, min(LANES, len(set(topics))))
        polling = [IggyConnection(self._address, self._timeout_s) for _ in range(lanes)]
        waiting = self._passing() or IggyConnection(self._address, self._timeout_s)
        subscription = IggySubscription(polling, waiting, self._stream, group, topics)
        self._subscriptions = [known for known in self._subscriptions if not known.is_closed]
        self._subscriptions.append(subscription)
        try:
            await subscription.join()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def scan(self, topic: str) -> IggyScan:
        """All of a topic from its oldest message on, in no group. Its connection is given up by its own `close`."""
        return IggyScan(IggyConnection(self._address, self._timeout_s), self._stream, checked_name("topic", topic))

    async def newest(self, topic: str, count: int) -> AsyncGenerator[Sequence[Incoming], None]:
        """The last messages of each partition of a topic, in no group and in parts: `count` of each, or some more.

        Raises BrokerError.
        """
        scan = self.scan(topic)
        try:
            async for part in scan.newest(count):
                yield part
        finally:
            scan.close()

    async def forget_group(self, group: str, topic: str) -> None:
        """Have whoever joins `group` next read `topic` from its beginning; nothing when there is no such group.

        Raises BrokerError when it has members: they would go on from where they are.
        """
        members = await self.owners(group, topic)
        if members:
            raise BrokerError(
                f"group {group!r} of topic {topic!r} has {len(members)} members: end the processes that are in it first"
            )
        try:
            await self._sending.call(
                f"delete group {group!r} of topic {topic!r}",
                lambda client: client.delete_consumer_group(self._stream, topic, group),
            )
        except Refused as refused:
            if refused.refusal is not Refusal.NOT_FOUND:
                raise

    async def owners(self, group: str, topic: str) -> list[tuple[int, ...]]:
        """The partitions of each member of a group, as the broker says; [] when there is no such group."""
        details = await self._sending.call(
            f"get group {group!r} of topic {topic!r}",
            lambda client: client.get_consumer_group(self._stream, topic, group),
        )
        return [] if details is None else [tuple(sorted(member.partitions)) for member in details.members]

    async def lag(self, group: str, topics: Sequence[str]) -> dict[str, int]:
        """How many messages of each topic `group` has not dealt with yet: a request a partition. Raises BrokerError."""
        return {topic: await lag_of(self._sending, self._stream, topic, group) for topic in topics}

    async def close(self) -> None:
        """Give up the connections; see `ports.Broker`. Lets the loop live long enough for the client to end."""
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            for subscription in self._subscriptions:
                if not subscription.is_closed:
                    await subscription.leave()
            self._sender.close()
            await anyio.sleep(SETTLE_S)

    def _passing(self) -> DirectConnection | None:
        """A connection that goes past the client, where there can be one."""
        return DirectConnection(self._address, self._timeout_s) if is_direct(self._address) else None

    # ------------------------------------------------------------------- topics

    async def _create(self, spec: TopicSpec) -> None:
        name = f"create topic {spec.name!r}"
        try:
            try:
                await self._sending.call(
                    name,
                    lambda client: client.create_topic(
                        self._stream,
                        spec.name,
                        spec.partitions,
                        message_expiry=_expiry(spec.expiry_s),
                        durability=Durability.PERSISTED,
                        consumer_offset_durability=Durability.PERSISTED,
                    ),
                )
            except Refused as refused:
                if refused.refusal is not Refusal.UNSUPPORTED_OPTION:
                    raise
                await self._create_on_older(name, spec)
        except Refused as refused:
            if refused.refusal is not Refusal.EXISTS:  # Somebody else was as quick: taken as it is.
                raise

    async def _create_on_older(self, name: str, spec: TopicSpec) -> None:
        """Create a topic on a server that has no durability options; the client would always send them.

        Such a server has `enforce_fsync`, which alone still leaves up to 1024 acknowledged messages in memory:
        it takes a threshold of one message as well. It stores consumer offsets at once anyhow. A server that
        does not even know that gets no options, and its own expiry.
        """
        options = {"enforce_fsync": "true", "messages_required_to_save": "1"}
        if spec.expiry_s is not None:
            options["message_expiry"] = wire.expiry_option(spec.expiry_s)
        try:
            await self._create_raw(name, spec, options)
        except Refused as refused:
            if refused.refusal is not Refusal.UNSUPPORTED_OPTION:
                raise
            await self._create_raw(name, spec, {})

    async def _create_raw(self, name: str, spec: TopicSpec, options: dict[str, str]) -> None:
        body = wire.create_topic(self._stream, spec.name, spec.partitions, options)
        await self._sending.call(name, lambda client: client.send_binary_request(wire.CREATE_TOPIC, body))


def _warn_of_expiry(spec: TopicSpec, expiry: IggyExpiry) -> None:
    if spec.expiry_s is None or not isinstance(expiry, IggyExpiry.ExpireDuration):
        return
    meant = timedelta(seconds=spec.expiry_s)
    if not meant or expiry.duration < meant:
        _log.warning(
            "topic %r keeps messages for %s and is meant to keep them for %s: it was there already; change its expiry "
            "on the server, or remove the topic and it is made again",
            spec.name,
            expiry.duration,
            meant or "ever",
        )


def _expiry(expiry_s: int | None) -> IggyExpiry:
    if expiry_s is None:
        return IggyExpiry.ServerDefault()
    return IggyExpiry.ExpireDuration(timedelta(seconds=expiry_s)) if expiry_s else IggyExpiry.NeverExpire()
