"""What happens to the world besides: kills, pauses, lost members, crashes of the broker, jumps of the clock.

One task for each kind, which waits for a drawn time, strikes and waits again. All of them end with the
phase of faults.
"""

from collections.abc import Awaitable, Callable, Sequence

from sagas.testing.simulation.faults import Faults
from sagas.testing.simulation.life import Scene
from sagas.testing.simulation.network import Server
from sagas.testing.simulation.node import Node

Strike = Callable[[], Awaitable[None]]


class Weather:
    """The faults that come from outside the processes."""

    def __init__(self, scene: Scene, server: Server, nodes: Sequence[Node]) -> None:
        self._scene = scene
        self._server = server
        self._nodes = nodes

    def storms(self, faults: Faults) -> list[tuple[str, int, Strike]]:
        """Each kind that is on: its name, its mean interval in ms, and what it does."""
        kinds: list[tuple[str, int, Strike]] = [
            ("kill", faults.kill_every_ms, self._kill),
            ("pause", faults.pause_every_ms, self._pause),
            ("evict", faults.evict_every_ms, self._evict),
            ("broker", faults.broker_every_ms, self._crash_broker),
            ("jump", faults.jump_every_ms, self._jump),
        ]
        return [kind for kind in kinds if kind[1]]

    async def rage(self, every_ms: int, strike: Strike) -> None:
        """Strike again and again until the faults are over."""
        while True:
            await self._scene.sleep_ms(self._scene.random.expovariate(1 / every_ms))
            if not self._scene.faults.fault_ms:
                return
            await strike()

    def clear(self) -> None:
        """The faults are over: the broker is there, and knows who is dead."""
        if not self._server.is_up:
            self._start_broker()
        living = {member for node in self._nodes for member in node.life.members}
        for member in range(1, self._server.newest_member + 1):
            if member not in living:
                self._server.forget_member(member)

    def _someone(self) -> Node:
        return self._scene.random.choice(self._nodes)

    async def _kill(self) -> None:
        node = self._someone()
        if self._scene.chance(self._scene.faults.stop_rate):
            node.ask_to_stop()
        else:
            node.life.crash("some instruction")

    async def _pause(self) -> None:
        node = self._someone()
        duration_ms = self._scene.up_to(self._scene.faults.pause_ms)
        self._scene.note(node.name, f"stands still for {duration_ms:.0f} ms")
        node.life.pause(duration_ms)

    async def _evict(self) -> None:
        node = self._someone()
        if node.life.members:
            self._scene.note(node.name, "is lost sight of by the broker")
            self._server.forget_member(node.life.members[-1])

    async def _crash_broker(self) -> None:
        faults = self._scene.faults
        forgotten = self._server.crash(faults.forgets_ms)
        self._scene.note("broker", f"crashes, {forgotten} messages are gone")
        await self._scene.sleep_ms(self._scene.up_to(faults.broker_ms))
        if not self._server.is_up:
            self._start_broker()

    def _start_broker(self) -> None:
        self._server.start()
        self._scene.note("broker", "is back")

    async def _jump(self) -> None:
        self._scene.jumped_ms += int(self._scene.up_to(self._scene.faults.jump_ms))
        self._scene.note("clocks", f"are {self._scene.jumped_ms} ms ahead")
