"""A whole system in one process: orchestrator, participants and broker, on virtual time and real SQLite.

Theory of operation. Every process is a `Node`: its database outlives it, and what the engine has beside it is made
anew when it is restarted. What handlers themselves remember (a global, a closure) is the test's own and stays. A world
is driven turn by turn, so a test decides what happens between any two: `settle` lets everybody work until nobody has
anything to do, and moves the clock to the next timer only then. What runs is what runs in production: the same
worker, relay, orchestrator and barrier; the broker is `MemoryBroker`, which passes the contract suite of the real one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, TypeVarTuple

from anyio.lowlevel import checkpoint

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.core.definition import Definition
from sagas.core.envelope import encode_data, encode_message
from sagas.core.ids import timed_id
from sagas.core.instance import Instance
from sagas.core.messages import Event, tag_of
from sagas.core.participants import Participant
from sagas.errors import BrokerError, SagaError
from sagas.ports import Migration, Outbox, Outgoing, ParticipantStore, TopicSpec
from sagas.runtime import event_store
from sagas.runtime.cleaning import Keeping, runs_cleaning
from sagas.runtime.guard import GAP_MS
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.participant import Service
from sagas.runtime.relay import Relay
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.topics import Topics
from sagas.runtime.worker import Work, Worker
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from sagas.testing.clock import VirtualClock
from sagas.testing.fitting import require_handlers

TURNS_MAX = 10_000
"""Of one `settle`: a world that needs more is going round in circles."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def inline(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """An `Offload` without a thread: what it returns is decided by the inputs alone."""
    await checkpoint()
    return function(*args)


_LETTERS_TOLD_MAX = 50
"""Dead letters that are looked through for what became of a start."""


class Node:
    """One process of a world. `name` is its consumer group."""

    def __init__(
        self,
        name: str,
        world: MemoryWorld,
        clock: VirtualClock,
        make_work: Callable[[], Work],
        outbox: Outbox,
        reads: Sequence[str],
        topics: Sequence[TopicSpec],
        journal: Outbox | None = None,
    ) -> None:
        self.name = name
        self._world = world
        self._clock = clock
        self._make_work = make_work
        self._outbox = outbox
        self._reads = reads
        self._topics = topics
        self._journal = journal
        self._parts: tuple[MemoryBroker, Relay | None, Relay, Worker] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it takes turns."""
        return self._parts is not None

    async def start(self) -> None:
        """Connect, with nothing in memory but what the database says."""
        broker = MemoryBroker(self._world)
        await broker.ensure(self._topics)
        subscription = await broker.subscribe(self.name, self._reads)
        relay = Relay(self._outbox, broker, self._clock, inline)
        worker = Worker(self._make_work(), subscription, relay, self._clock, inline, store_every_ms=0)
        feed = event_store.feed(self._journal, broker, self._clock, inline) if self._journal is not None else None
        self._parts = (broker, feed, relay, worker)

    async def kill(self) -> None:
        """Be gone as with kill -9: nothing is flushed, no offset is stored."""
        if self._parts is not None:
            parts, self._parts = self._parts, None
            await parts[0].close()

    async def turn(self) -> int:
        """One round of the worker and the relay; how much there was to do. Nothing while the broker is away."""
        if self._parts is None:
            return 0
        broker, feed, relay, worker = self._parts
        try:
            return await worker.turn() + await relay.flush() + (await feed.flush() if feed is not None else 0)
        except BrokerError as error:
            await Topics(broker, self._topics).mend(error)
            return 0


class World:
    """Sagas, their participants and a broker. Use `async with World(…) as world`.

    With `with_event_store` the journal is published to the topic `event-store`; `keeping` says how long things are
    kept, as in production unless it is given. Raises HandlerError where a participant that is given has no handler for
    a command of these sagas; not with `may_be_older`, for tests of a release that does not know all of them yet.
    """

    def __init__(
        self,
        definitions: Sequence[Definition],
        services: Mapping[Service, Sequence[Migration]],
        *,
        start_ms: int = 1_700_000_000_000,
        partitions: int = 3,
        with_event_store: bool = False,
        keeping: Keeping = Keeping(),  # noqa: B008 - it cannot be changed
        may_be_older: bool = False,
    ) -> None:
        require_handlers(definitions, services, may_be_older=may_be_older)
        self.clock = VirtualClock(start_ms)
        self.broker = MemoryWorld(self.clock)
        self.store = SqliteStore(":memory:")
        self.stores: dict[str, SqliteParticipantStore] = {}
        self.nodes: dict[str, Node] = {}
        self._definitions = {d.name: d for d in definitions}
        orchestrator = Orchestrator(definitions, self.store)
        self._add(
            "orchestrator",
            lambda: OrchestratorWork(
                Orchestrator(definitions, self.store), None, runs_cleaning(self.store.cleaner, keeping)
            ),
            self.store,
            orchestrator.topics,
            [*orchestrator.topic_specs(partitions), event_store.topic_spec(partitions)],
            self._journal() if with_event_store else None,
        )
        for service, migrations in services.items():
            self._add_service(service, migrations, partitions, keeping)

    def _add_service(
        self, service: Service, migrations: Sequence[Migration], partitions: int, keeping: Keeping
    ) -> None:
        participant = service.participant
        store = self.stores[participant.name] = SqliteParticipantStore(":memory:", migrations)
        topics = service.topic_specs(partitions)
        self._add(participant.name, _service_work(service, store, keeping), store, [participant.commands], topics)

    def _journal(self) -> Outbox:
        self.store.begin_feed()
        return event_store.JournalOutbox(self.store)

    def _add(
        self,
        name: str,
        make_work: Callable[[], Work],
        outbox: Outbox,
        reads: Sequence[str],
        topics: Sequence[TopicSpec],
        journal: Outbox | None = None,
    ) -> None:
        self.nodes[name] = Node(name, self.broker, self.clock, make_work, outbox, reads, topics, journal)

    async def __aenter__(self) -> "World":
        for node in self.nodes.values():
            await node.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        for node in self.nodes.values():
            await node.kill()
        self.store.close()
        for store in self.stores.values():
            store.close()

    async def publish_start(self, saga: str, event: Event) -> str:
        """Publish a start event as any client would; the business key. Raises SagaError for one that starts no run."""
        definition = self._definitions.get(saga)
        if definition is None:
            raise SagaError(f"no saga {saga!r} in this world; it has {', '.join(sorted(self._definitions))}")
        starts, given = definition.start.event_type, type(event)
        if tag_of(given) != tag_of(starts):
            raise SagaError(
                f"saga {saga!r} is started by {starts.__name__} ({tag_of(starts)}), and this is {given.__name__} "
                f"({tag_of(given)}); publish what is no start with `world.publish(event, on=PARTICIPANT)`"
            )
        return await self._publish(event, definition.start.topic, definition.key)

    async def publish(self, event: Event, *, on: Participant) -> str:
        """Publish an event on the topic of `on` as any client would, a signal for one; the business key.

        The same event twice at one time is one message that comes twice.
        """
        return await self._publish(event, on.events, on.key)

    async def _publish(self, event: Event, topic: str, key_field: str) -> str:
        key, now_ms = str(getattr(event, key_field)), self.clock.now_ms()
        data = encode_data(event, key_field).decode()
        message_id = timed_id(now_ms, "client", topic, key, tag_of(type(event)), data)
        payload = encode_message(event, message_id=message_id, key_field=key_field, key=key, now_ms=now_ms)
        broker = MemoryBroker(self.broker)
        await broker.publish([Outgoing(id=message_id, topic=topic, key=key, payload=payload)])
        await broker.close()
        return key

    async def work(self) -> None:
        """Let everybody work until nobody has anything to do now. Time stands still."""
        for _ in range(TURNS_MAX):
            if not sum([await node.turn() for node in self.nodes.values()]):
                return
        raise SagaError(f"still busy after {TURNS_MAX} turns: the system goes round in circles")

    async def settle(self, *, within_s: float = 3_600) -> None:
        """Work, and move the clock from timer to timer, until no run is in flight or `within_s` have passed."""
        end_ms = self.clock.now_ms() + int(within_s * 1000)
        await self.work()
        while self.store.in_flight():
            due_ms = self.store.next_due_ms()
            # In steps: a process that was not run for longer takes it for an outage and holds its timers back.
            now_ms = self.clock.now_ms()
            due_ms = due_ms if due_ms is not None and due_ms > now_ms else now_ms + 1_000
            next_ms = min(due_ms, now_ms + GAP_MS // 2)
            if next_ms > end_ms:
                return
            self.clock.advance(next_ms - self.clock.now_ms())
            await self.work()

    def instance(self, saga: str, key: str) -> Instance:
        """The run of a business key. Raises KeyError when there is none, with what became of its start."""
        found = self.store.instance(saga, key)
        if found is None:
            letters = [letter for letter in self.store.dead_letters(_LETTERS_TOLD_MAX) if letter.key in ("", key)]
            refused = "".join(f"; dead letter from {letter.topic!r}: {letter.reason}" for letter in letters)
            raise KeyError(f"no instance of saga {saga!r} for {key!r}{refused}")
        return found


def _service_work(service: Service, store: ParticipantStore, keeping: Keeping) -> Callable[[], Work]:
    return lambda: ServiceWork(service, store, keeping)
