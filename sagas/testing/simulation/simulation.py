"""One run: a world from one seed, with faults for a while, then without, until everything has come to rest.

Theory of operation. The processes are tasks of one deterministic loop (`loop.py`) and run at the same time: the
production worker, relay, orchestrator and barrier on real SQLite in memory, and a broker of the same log
that the embedded one has (`network.py`). Clients publish starts while the faults of the seed are on
(`faults.py`, `weather.py`). Then no new fault comes, and within `SETTLE_MS_MAX` of virtual time every instance must
have ended or be stuck, every outbox be empty and every topic be read. What holds then is checked by
`invariants.py`.

Two modes. With timers, they heal what was lost, and races between a timeout and an answer come up. Without,
nothing heals: what the engine itself lost leaves a saga that never ends. Delays end in both, and without timers every
signal is sent (`faults.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from sagas.broker.memory import MemoryBroker
from sagas.core.messages import Event
from sagas.testing.simulation.clients import Clients
from sagas.testing.simulation.evidence import Evidence
from sagas.testing.simulation.faults import Faults, draw_faults
from sagas.testing.simulation.history import History, Violation
from sagas.testing.simulation.invariants import violations
from sagas.testing.simulation.life import Scene
from sagas.testing.simulation.loop import Deadlock, SimulatedLoop, StepLimit
from sagas.testing.simulation.messages import unanswered
from sagas.testing.simulation.network import Server
from sagas.testing.simulation.node import Node
from sagas.testing.simulation.points import Points
from sagas.testing.simulation.programs import Programs
from sagas.testing.simulation.subject import Subject
from sagas.testing.simulation.weather import Weather

SETTLE_MS_MAX = 240_000
"""Virtual time after the faults within which everything comes to rest: asking about a step backs off to a minute."""

SETTLE_MS_MAX_WITHOUT_TIMERS = 60_000
"""Then only the broker has anything to wait for: it passes a partition on after 30 s at the latest."""

STEPS_MAX = 200_000
"""Of one run: ten times what a long one needs."""

_LOOK_EVERY_MS = 120
_REPUBLISH_EVERY_MS = 2_000
_STREAM = "sagas"


@dataclass(kw_only=True)
class Run:
    """What one run came to. It passed when there are no `violations`."""

    seed: int
    timers: bool
    faults: Faults
    history: History
    points: Points
    simulated_ms: int = 0
    steps: int = 0
    states: dict[str, int] = field(default_factory=dict[str, int])
    violations: list[Violation] = field(default_factory=list[Violation])


class Simulation:
    """A world in the making: its processes, its clients and its weather."""

    def __init__(
        self,
        subject: Subject,
        seed: int,
        *,
        timers: bool,
        faults: Faults | None = None,
        starts: Sequence[Event] | None = None,
    ) -> None:
        self.subject = subject
        self.seed = seed
        self.faults = draw_faults(seed, timers=timers) if faults is None else faults
        self.loop = SimulatedLoop(seed, steps_max=STEPS_MAX)
        self.scene = Scene(
            self.loop, self.faults, seed, timers=timers, delays=any(d.delays for d in subject.definitions)
        )
        self.server = Server(self.scene)
        self.programs = Programs(subject, self.faults.partitions)
        self.store, self.stores = self.programs.store, self.programs.stores
        self.starts = list(subject.workload(seed) if starts is None else starts)
        self.clients = Clients(subject, self.starts, self.scene, self.server, self.programs, seed)
        self.nodes = self._make_nodes()
        self.weather = Weather(self.scene, self.server, self.nodes)
        self.problem = ""

    # ----------------------------------------------------------------- who there is

    def _make_nodes(self) -> list[Node]:
        programs, names = self.programs.all, list(self.programs.all)
        twins = Random(f"{self.seed}:twins").sample(names, min(self.faults.twins, len(names)))
        nodes = [Node(name, programs[name], self.scene, self.server) for name in names]
        return nodes + [Node(f"{name}-2", programs[name], self.scene, self.server) for name in twins]

    # ----------------------------------------------------------------- the run

    def run(self) -> None:
        """From the first start to rest. `problem` says why it did not come to rest, "" when it did."""
        try:
            self.loop.run_until_complete(self._run())
        except (Deadlock, StepLimit) as error:
            self.problem = str(error)
        finally:
            self.scene.is_over = True

    def close(self) -> None:
        """Give up the databases and the loop."""
        self.programs.close()
        self.loop.close()

    async def _run(self) -> None:
        scene = self.scene
        await MemoryBroker(self.server).ensure([spec for p in self.programs.all.values() for spec in p.topics])
        tasks = [self.loop.create_task(node.run(), name=node.name) for node in self.nodes]
        self.clients.begin()
        for name, every_ms, strike in self.weather.storms(self.faults):
            scene.spawn(self.weather.rage(every_ms, strike), name)
        scene.points.crash_every(self.faults.crash_every, Random(f"{self.seed}:crashes"))
        await scene.sleep_ms(self.faults.fault_ms)
        scene.calm()
        self.weather.clear()
        scene.note("world", "is calm")
        await self._settle()
        for _ in range(self.faults.replays):
            self._read_all_again()
            while self._is_unread() and not self.problem:
                await scene.sleep_ms(_LOOK_EVERY_MS)
            await self._settle()
        await scene.end()
        for node in self.nodes:
            node.life.end("is switched off")
        for task in tasks:
            await task

    def _read_all_again(self) -> None:
        """Somebody sets the stored offsets back to the beginning."""
        self.scene.note("world", "everything is read again")
        for topic in self.server.log.stream(_STREAM).topics.values():
            for group in topic.groups.values():
                group.stored.clear()
        for member in range(1, self.server.newest_member + 1):
            self.server.forget_member(member)

    # ----------------------------------------------------------------- rest

    async def _settle(self) -> None:
        within_ms = SETTLE_MS_MAX if self.scene.timers else SETTLE_MS_MAX_WITHOUT_TIMERS
        until_ms = self.scene.now_ms() + within_ms
        republish_ms = 0
        while not self.is_settled():
            now_ms = self.scene.now_ms()
            if now_ms > until_ms:
                self.problem = f"not at rest {within_ms / 1000:.0f} s after the last fault"
                return
            if self.faults.can_lose and now_ms > republish_ms:
                republish_ms = now_ms + _REPUBLISH_EVERY_MS
                await self.clients.publish_missing()
            await self.scene.sleep_ms(_LOOK_EVERY_MS)

    def is_settled(self) -> bool:
        """Whether nobody has anything left to do."""
        return not (
            self.store.in_flight()
            or self.store.unpublished(1)
            or any(store.unpublished(1) for store in self.stores.values())
            or sum(self.store.counts().values()) < self._keys()
            or any(unanswered(self.evidence()))
        )

    def _keys(self) -> int:
        return len({(type(event), getattr(event, self.subject.definition_of(event).key)) for event in self.starts})

    def _is_unread(self) -> bool:
        log = self.server.log
        for program in self.programs.all.values():
            for name in program.reads:
                topic = log.topic(_STREAM, name)
                group = topic.find_group(program.group)
                for partition in topic.partitions:
                    stored = -1 if group is None else group.stored.get(partition.id, -1)
                    if stored < partition.end - 1:
                        return True
        return False

    def evidence(self) -> Evidence:
        """What there is to look at now."""
        definitions = [(self.subject.definition_of(event), event) for event in self.starts]
        return Evidence(
            subject=self.subject,
            faults=self.faults,
            timers=self.scene.timers,
            problem=self.problem,
            starts={(d.name, str(getattr(event, d.key))): "" for d, event in definitions},
            history=self.scene.history,
            store=self.store,
            stores=self.stores,
            poison=self.clients.poison,
            signals=self.clients.signals,
            unknown_points=list(self.scene.points.unknown()),
        )


def simulate(subject: Subject, seed: int, *, timers: bool = True, faults: Faults | None = None) -> Run:
    """Run the world of `seed` and check it. `faults` replaces those that the seed draws."""
    simulation = Simulation(subject, seed, timers=timers, faults=faults)
    try:
        simulation.run()
        return result_of(simulation)
    finally:
        simulation.close()


def result_of(simulation: Simulation) -> Run:
    """What a simulation that has run came to."""
    return Run(
        seed=simulation.seed,
        timers=simulation.scene.timers,
        faults=simulation.faults,
        history=simulation.scene.history,
        points=simulation.scene.points,
        simulated_ms=int(simulation.loop.time() * 1000),
        steps=simulation.loop.steps,
        states=simulation.store.counts(),
        violations=list(violations(simulation.evidence())),
    )
