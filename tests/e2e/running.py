"""The demo application as real processes in a folder of its own, for tests that do things to it."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from sagas.broker.iggy import IggyBroker
from sagas.core.instance import Instance
from sagas.ports import InstanceFilter, JournalRow, Outgoing
from sagas.store.sqlite import SqliteStore
from services import pidfile
from services.contracts import STREAM
from services.place import ADDRESS, Place, place_of
from services.processes import Child, Program, free_address, log_path, make_folders, pid_path, stop_leftovers
from services.proof import ServiceFiles, prove_files
from services.stories import Story, kind_of, message_of

WAIT_S_MAX = 30.0


def heed_ctrl_c() -> None:
    """Called in a process before its program: whoever was started in the background of a shell ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(condition: Callable[[], bool], what: str, seconds_max: float = WAIT_S_MAX) -> None:
    """Wait, and fail when it does not come."""
    until = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not within {seconds_max} s: {what}")
        time.sleep(0.02)


class Shop:
    """The processes in `folder`; each can be started, signalled and looked into by its name."""

    def __init__(self, folder: Path) -> None:
        make_folders(folder)
        base = {k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_"))}
        self.folder = folder
        # Not the usual address: other tests run beside this.
        self.place: Place = place_of({ADDRESS: free_address(0)}, folder, stream=STREAM, always_stream=True)
        self.environ = self.place.environ(base)
        self._children: dict[str, Child] = {}

    @property
    def database(self) -> Path:
        """The orchestrator's."""
        return self.folder / "orchestrator.db"

    def start(self, *names: str) -> None:
        """Start those of the demo's processes, all when none is named, and wait until they are up."""
        programs = {program.name: program for program in self.place.programs}
        for name in names or programs:
            self.launch(programs[name], self.environ)
        for name in names or programs:
            wait_until(self._children[name].is_ready, f"{name} to be up")

    def launch(self, program: Program, environ: dict[str, str]) -> Child:
        """Start a process, without waiting for it."""
        child = self._children[program.name] = Child(program, self.folder, environ)
        child.start()
        return child

    def pid(self, name: str) -> int:
        """Of a process that runs."""
        pid = pidfile.holder(pid_path(self.folder, name))
        assert pid is not None, f"{name} does not run"
        return pid

    def signal(self, name: str, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid(name), number)

    def wait_for_end(self, name: str) -> None:
        """Until a process that was killed is gone."""
        self._children[name].reap()

    def log(self, name: str) -> str:
        """What it has said."""
        return log_path(self.folder, name).read_text(encoding="utf-8", errors="replace")

    def stop(self, *others: str) -> None:
        """Stop all; `others` are processes that are not the demo's own."""
        pidfile.stop([pid_path(self.folder, name) for name in others])
        stop_leftovers(self.folder)
        for child in self._children.values():
            child.reap()

    # ----------------------------------------------------------------- orders

    def place_orders(self, prefix: str, count: int) -> list[Story]:
        """Publish orders of all stories as a client does; what they are."""
        numbers = (number for number in range(1, 2 * count) if kind_of(number) != "the guide's own message")
        stories = [
            Story(number=n, kind=kind_of(n), order_id=f"{prefix}-{n:02}")
            for n, _ in zip(numbers, range(count), strict=False)
        ]
        messages = [message_of(s, message_id=str(uuid4()), now_ns=time.time_ns()) for s in stories]
        anyio.run(self._publish, messages)
        return stories

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        broker = IggyBroker.from_connection_string(self.place.settings.connection_string, stream=STREAM)
        try:
            await broker.publish(messages)
        finally:
            await broker.close()

    def runs(self) -> dict[str, Instance]:
        """What the orchestrator's database says, by order id."""
        with closing(SqliteStore(self.database, read_only=True)) as store:
            return {run.key: run for run in store.instances(InstanceFilter(count_max=1_000))}

    def journal(self, run: Instance) -> list[JournalRow]:
        """What happened to a run."""
        with closing(SqliteStore(self.database, read_only=True)) as store:
            return store.journal(run.id)

    def wait_for_ends(self, stories: Sequence[Story]) -> None:
        """Until these orders have come to an end."""

        def have_ended() -> bool:
            runs = self.runs()
            return all(s.order_id in runs and runs[s.order_id].is_ended for s in stories)

        wait_until(have_ended, "every order to end")

    def is_locked(self) -> bool:
        """Whether somebody holds the write lock of the orchestrator's database."""
        with closing(sqlite3.connect(self.database, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False

    def prove(self, stories: Sequence[Story]) -> None:
        """Every order of `stories` ended rightly, and the books of all of them hold. Nothing may be under way."""
        runs = self.runs()
        proof = prove_files(ServiceFiles.within(self.folder), {key: run.state for key, run in runs.items()})
        assert proof.problems == ()
        for story in stories:
            run = runs[story.order_id]
            # A service that is away for longer than the payment's 2 s makes an order turn back, rightly.
            is_late = "no answer" in run.cause
            assert (run.state == "completed") == (story.is_to_complete and not is_late), (story, run.state, run.cause)


@contextmanager
def running_shop(folder: Path, *others: str) -> Generator[Shop]:
    """A shop, not started yet; what runs of it is stopped at the end."""
    shop = Shop(folder)
    try:
        yield shop
    finally:
        shop.stop(*others)
