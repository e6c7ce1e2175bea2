"""Who else there is in a simulated world: clients that start sagas, strangers, and a participant's own outside."""

from collections.abc import Sequence
from random import Random

import msgspec

from sagas.broker.memory import MemoryBroker
from sagas.core.envelope import encode_message
from sagas.core.ids import instance_id
from sagas.core.messages import Event, tag_of
from sagas.errors import BrokerError
from sagas.ports import Outgoing, ParticipantStore
from sagas.testing.simulation.life import BEGINS_MS, Life, Scene
from sagas.testing.simulation.network import Server
from sagas.testing.simulation.participant_stores import WatchedParticipantStore
from sagas.testing.simulation.programs import Programs
from sagas.testing.simulation.subject import Subject

OUTSIDE_EVERY_MS = 150
_RETRY_MS = 100


class Clients:
    """They publish until the broker acknowledges. `poison` has the ids of what nobody can read, `signals` those of
    the signals by topic, event type and business key."""

    def __init__(
        self, subject: Subject, starts: Sequence[Event], scene: Scene, server: Server, programs: Programs, seed: int
    ) -> None:
        self.poison: set[str] = set()
        self.signals: dict[tuple[str, str, str], list[str]] = {}
        self._subject = subject
        self._starts = starts
        self._scene = scene
        self._server = server
        self._programs = programs
        self._seed = seed

    def begin(self) -> None:
        """Have all of them at work."""
        faults, random = self._scene.faults, Random(f"{self._seed}:arrivals")
        for number, event in enumerate(self._starts):
            delay_ms = random.random() * faults.fault_ms * 0.7
            self._scene.spawn(self._client(number, event, delay_ms), f"client {number}")
        for number, event in enumerate(self._subject.signals(self._seed, self._starts)):
            if random.random() >= faults.silent:
                delay_ms = random.random() * (faults.fault_ms * 0.7 + faults.signal_ms)
                self._scene.spawn(self._signal(number, event, delay_ms), f"signal {number}")
        for number in range(faults.poison):
            topic = random.choice(self._programs.topics_read)
            self._scene.spawn(self._publish_poison(number, topic), f"stranger {number}")
        self._scene.spawn(self._outside(), "outside")

    async def publish_missing(self) -> None:
        """What a client does whose start a broker may have lost: it asks, and publishes again."""
        for number, event in enumerate(self._starts):
            message = self._start_message(number, event)
            if self._programs.store.instance(self._subject.definition_of(event).name, message.key) is None:
                await self._publish(message)

    async def _client(self, number: int, event: Event, delay_ms: float) -> None:
        await self._scene.sleep_ms(delay_ms)
        message = self._start_message(number, event)
        await self._publish(message)
        if self._scene.chance(self._scene.faults.start_twice):
            await self._scene.sleep_ms(self._scene.up_to(500))
            # A client that repeats itself may use another id: then only the business key says that it is the same.
            other_id = instance_id("client again", message.key, BEGINS_MS)
            is_other = self._scene.chance(0.5)
            await self._publish(msgspec.structs.replace(message, id=other_id) if is_other else message)

    def _start_message(self, number: int, event: Event) -> Outgoing:
        definition = self._subject.definition_of(event)
        key = str(getattr(event, definition.key))
        message_id = instance_id("client", f"{key} {number}", BEGINS_MS)
        payload = encode_message(event, message_id=message_id, key_field=definition.key, key=key, now_ms=BEGINS_MS)
        return Outgoing(id=message_id, topic=definition.start.topic, key=key, payload=payload)

    async def _signal(self, number: int, event: Event, delay_ms: float) -> None:
        definition, wait = self._subject.wait_for(event)
        key = str(getattr(event, definition.key))
        message_id = instance_id("signal", f"{key} {number}", BEGINS_MS)
        payload = encode_message(event, message_id=message_id, key_field=definition.key, key=key, now_ms=BEGINS_MS)
        message = Outgoing(id=message_id, topic=wait.topic, key=key, payload=payload)
        self.signals.setdefault((wait.topic, tag_of(type(event)), key), []).append(message_id)
        await self._scene.sleep_ms(delay_ms)
        await self._publish(message)
        if self._scene.chance(self._scene.faults.signal_twice):
            await self._scene.sleep_ms(self._scene.up_to(500))
            other_id = instance_id("signal again", f"{key} {number}", BEGINS_MS)
            is_other = self._scene.chance(0.5)
            await self._publish(msgspec.structs.replace(message, id=other_id) if is_other else message)

    async def _publish(self, message: Outgoing) -> None:
        broker = MemoryBroker(self._server)
        while True:
            try:
                await broker.publish([message])
            except BrokerError:
                await self._scene.sleep_ms(_RETRY_MS)
            else:
                self._scene.now_ms()
                self._scene.history.append("client", message, is_lost=False)
                return

    async def _publish_poison(self, number: int, topic: str) -> None:
        """What a stranger writes into a topic: no message that anybody here understands."""
        await self._scene.sleep_ms(self._scene.up_to(self._scene.faults.fault_ms / 2))
        message_id = instance_id("stranger", f"{number}", BEGINS_MS)
        self.poison.add(message_id)
        await self._publish(Outgoing(id=message_id, topic=topic, key=f"o-{number}", payload=b"\xff{", headers={}))

    async def _outside(self) -> None:
        if self._subject.outside is None:
            return
        random = Random(f"{self._seed}:outside")
        life = Life(self._scene, "outside", "participant", is_mortal=False)
        stores: dict[str, ParticipantStore] = {
            name: WatchedParticipantStore(life, store) for name, store in self._programs.stores.items()
        }
        while not self._scene.is_over:
            await self._scene.sleep_ms(OUTSIDE_EVERY_MS)
            is_calm = not self._scene.faults.fault_ms
            self._subject.outside(stores, random, self._scene.now_ms(), is_calm or not self._scene.timers)
