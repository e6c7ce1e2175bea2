"""`make scaling`: a group of workers shares a topic while their number goes 1 → 3 → 4 → 2, and nothing is lost.

Theory of operation. Three partitions, one group, messages all the while. Each worker is a process with the real
client, the production loop, at-least-once, and `processed_events` in one transaction with the work; all work for one
database. After each change the broker is asked who is a member and what each owns. That counts once it agrees
with what the workers were told; then they work for a while, and each must have handled messages of its own
partitions only. The last change is half a goodbye and half a crash: one worker leaves, another is ended with a batch
done and its offset not stored, so that somebody gets that batch again.

What is proven in the end comes from the database: each message that was published is in it once, and those of one
task in their order.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import anyio
import msgspec

from sagas.broker.iggy import IggyBroker
from sagas.clock import SystemClock
from sagas.config import Settings, masked
from sagas.core.envelope import encode_envelope
from sagas.errors import BrokerError, SagaError
from sagas.ports import Outgoing, TopicSpec
from sagas.store.participant import SqliteParticipantStore
from sagas.streams import prepare_streams
from services import pidfile
from services.leaving import end_in_order
from services.place import CONNECTION, embedded_connection, names_a_server
from services.processes import (
    Child,
    Fleet,
    ProcessError,
    Program,
    broker_program,
    free_address,
    log_path,
    make_folders,
    pid_path,
)
from services.scaling_proof import PARTITIONS, Handled, disagreement, judge
from services.scaling_worker import DATABASE, GROUP, MIGRATIONS, TASKS

KEYS = 24
SIZES = (1, 3, 4)
"""How many work; then two of them go."""
SETTLE_S_MAX = 60.0
"""For ownership to settle: a real server takes 36 s to miss a member whose connection is still open."""

LOOK_S = 0.1


def main() -> int:
    """Run it; the exit code: 0 if nothing was handled twice and nothing missed."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m services.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=60, help="messages a second; 60 by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each group works; 2 by default")
    arguments = parser.parse_args()
    if not 1 <= arguments.rate <= 500 or not 0.2 <= arguments.seconds <= 600:
        parser.error("expected --rate 1 to 500 and --seconds 0.2 to 600")
    end_in_order()
    try:
        with tempfile.TemporaryDirectory(prefix="sagas-scaling-") as folder:
            return run(Path(folder), arguments.rate, arguments.seconds)
    except (SagaError, OSError) as error:
        sys.stderr.write(f"scaling: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("scaling: interrupted, everything it started is stopped\n")
        return 130


def run(folder: Path, rate: int, seconds: float) -> int:
    """Everything in `folder`; the exit code."""
    make_folders(folder)
    settings = Settings.from_environ(os.environ)
    if names_a_server(os.environ):
        _say(f"broker   Iggy   {masked(settings.connection_string)}")
        return anyio.run(Scaling(settings.connection_string, os.environ, folder, rate, seconds).run)
    address = free_address(0)
    _say(f"broker   embedded, speaks Iggy's TCP protocol   {address}   (a real Iggy: set {CONNECTION})")
    with Fleet(folder, (broker_program(address, folder),), os.environ) as fleet:
        fleet.start()
        connection = embedded_connection(address)
        return anyio.run(Scaling(connection, {**os.environ, CONNECTION: connection}, folder, rate, seconds).run)


class Scaling:
    """The group through its sizes."""

    def __init__(self, connection: str, environ: Mapping[str, str], folder: Path, rate: int, seconds: float) -> None:
        """`environ` is the workers', and says the connection too: a secret that came in a file stays there."""
        stream = f"scaling-{uuid4().hex[:8]}"
        self._folder = folder
        self._rate = rate
        self._seconds = seconds
        self._environ = {**environ, "IGGY_STREAM": stream, "SAGAS_DATA": str(folder)}
        self._broker = IggyBroker.from_connection_string(connection, stream=stream)
        self._store = SqliteParticipantStore(folder / f"{DATABASE}.db", MIGRATIONS)
        self._workers: dict[str, Child] = {}
        self._started = 0
        self._published: list[str] = []
        self._problems: list[str] = []

    async def run(self) -> int:
        """The whole story; the exit code."""
        # The server's own retention: nobody wants these messages tomorrow.
        await self._broker.ensure([TopicSpec(name=TASKS.events, partitions=PARTITIONS, expiry_s=None)])
        failure: SagaError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._produce)
                try:
                    await self._scale()
                except SagaError as error:
                    failure = error  # out of the group as it is, not in a group of errors
                tasks.cancel_scope.cancel()
            if failure is not None:
                raise failure
            await self._wait_for_the_rest()
        finally:
            pidfile.stop([pid_path(self._folder, name) for name in self._workers])
            with anyio.CancelScope(shield=True):
                await self._broker.close()
        return self._tell()

    async def _scale(self) -> None:
        for size in SIZES:
            while len(self._workers) < size:
                self._start_one()
            await self._look(f"{size} worker{'s' if size > 1 else ''}")
        await self._leave_and_crash()

    # ------------------------------------------------------------------ messages

    async def _produce(self) -> None:
        clock = SystemClock()
        while True:
            number = len(self._published)
            message_id, task = str(uuid4()), f"task-{number % KEYS}"
            payload = encode_envelope(message_id, TASKS.key, task, "task.added", clock.now_ms(), str(number).encode())
            message = Outgoing(id=message_id, topic=TASKS.events, key=task, payload=payload)
            with anyio.CancelScope(shield=True):  # whether it was published must be known
                while True:
                    try:
                        await self._broker.publish([message])
                        break
                    except BrokerError:
                        await anyio.sleep(LOOK_S)
                self._published.append(message_id)
            await anyio.sleep(1 / self._rate)

    async def _wait_for_the_rest(self) -> None:
        wanted = set(self._published)
        await _until(lambda: wanted <= {row.message_id for row in self._rows()})  # the judge says what is missing

    def _rows(self) -> list[Handled]:
        with self._store.transaction() as transaction:
            found = transaction.sql.execute(
                'SELECT message_id, task, number, worker, "partition" FROM handled ORDER BY rowid'
            ).fetchall()
        return [msgspec.convert(row, Handled) for row in found]

    # ------------------------------------------------------------------ workers

    def _start_one(self) -> None:
        self._started += 1
        name = f"worker-{self._started}"
        program = Program(name=name, command=(sys.executable, "-m", "services.scaling_worker", name))
        self._workers[name] = Child(program, self._folder, self._environ)
        self._workers[name].start()

    async def _leave_and_crash(self) -> None:
        owning = [name for name in self._workers if self._told(name)]
        leaves, crashes = owning[0], owning[-1]
        pidfile.stop([pid_path(self._folder, leaves)])
        del self._workers[leaves]
        pid = pidfile.holder(pid_path(self._folder, crashes))
        if pid is None:
            raise ProcessError(f"{crashes} has ended by itself; see {log_path(self._folder, crashes)}")
        os.kill(pid, signal.SIGUSR1)
        if not await _until(self._workers[crashes].has_ended):
            raise ProcessError(f"{crashes} did not die when it was told to; see {log_path(self._folder, crashes)}")
        del self._workers[crashes]
        await self._look(f"2 workers: {leaves} has left, {crashes} died with a batch done and its offset not stored")

    def _told(self, name: str) -> tuple[int, ...] | None:
        """What a worker was told that it owns, by its own words."""
        try:
            lines = log_path(self._folder, name).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        said = [line.removeprefix("owns").split() for line in lines if line.startswith("owns")]
        return tuple(int(number) for number in said[-1]) if said else None

    async def _settled(self) -> Mapping[str, tuple[int, ...]]:
        """Who owns what, once the broker and the workers say the same."""
        members: Sequence[tuple[int, ...]] = ()
        told: dict[str, tuple[int, ...] | None] = {}
        with anyio.move_on_after(SETTLE_S_MAX):
            while True:
                members = await self._broker.owners(GROUP, TASKS.events)
                told = {name: self._told(name) for name in self._workers}
                owned = {name: partitions for name, partitions in told.items() if partitions is not None}
                if not disagreement(members, owned, len(self._workers)):
                    return owned
                await anyio.sleep(LOOK_S)
        raise ProcessError(f"ownership did not settle in {SETTLE_S_MAX:.0f} s: the broker says {members}, they {told}")

    async def _look(self, title: str) -> None:
        owned = await self._settled()
        before = len(self._rows())
        await anyio.sleep(self._seconds)
        worked = self._rows()[before:]
        _say(f"\n{title}")
        for name, partitions in owned.items():
            rows = [row for row in worked if row.worker == name]
            owns = f"owns {' '.join(map(str, partitions))}" if partitions else "idle: more workers than partitions"
            _say(f"  {name:<9} {owns:<36} handled {len(rows)}")
            self._problems += [
                f"{name} handled {row.message_id} of partition {row.partition}, which it does not own"
                for row in rows
                if row.partition not in partitions
            ]
        if not worked:
            self._problems.append(f"{title}: nothing was handled")

    # ------------------------------------------------------------------ the end

    def _tell(self) -> int:
        rows = self._rows()
        again = sum(_repeats(log_path(self._folder, f"worker-{number + 1}")) for number in range(self._started))
        problems = [*self._problems, *judge(self._published, rows)]
        self._store.close()
        for problem in problems[:20]:
            _say(f"WRONG: {problem}")
        twice = len(rows) - len({row.message_id for row in rows})
        missed = len(set(self._published) - {row.message_id for row in rows})
        _say(
            f"\n{len(self._published)} published, {len(rows)} handled: {twice} twice, {missed} missed, "
            f"those of each task in their order\n{again} delivered again, and passed over by their id"
        )
        return 1 if problems else 0


async def _until(is_so: Callable[[], bool]) -> bool:
    """Wait until something is so; False when it is not within `SETTLE_S_MAX`."""
    for _ in range(int(SETTLE_S_MAX / LOOK_S)):
        if is_so():
            return True
        await anyio.sleep(LOOK_S)
    return False


def _repeats(path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(int(line.split()[3]) for line in lines if line.startswith("handled"))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
