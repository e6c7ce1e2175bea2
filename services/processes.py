"""The processes of the demo application: which there are, starting, watching and stopping them.

Each has a pid file (`run/NAME.pid`) and a log (`logs/NAME.log`) in the data folder, and says that it
is up by a line that begins with `ready` in its log. They run in sessions of their own, so that a
Ctrl-C at the terminal reaches only whoever started them, and that one stops them in order.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from sagas.errors import SagaError
from sagas.folders import DATA, make_data_folder
from services import pidfile
from services.leaving import leaving

SERVICES = ("orders", "inventory", "payments", "shipping")
BROKER = "broker"
ORCHESTRATOR = "orchestrator"
PROJECTOR = "projector"
STOREFRONT = "storefront"
FRONT = (PROJECTOR, STOREFRONT)
"""What customers see, and what makes it; the demo and the storms do without."""

CONSUMERS = ("notifications", "analytics", "auditlog")
"""Who reads the events of the others, each at its own place."""

PORT_USUAL = 8090
"""Iggy's own."""

READY_S_MAX = 30.0
BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 5.0
HEALTHY_S = 10.0
"""A process that lived so long is started again without waiting: its death is a new one."""

_LOG_BYTES_SHOWN = 2_000


class ProcessError(SagaError):
    """A process does not come up or has ended: says which, and the end of its log."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A process to run: its name, its command, and what its environment has besides everybody's."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = {}


def broker_program(address: str, folder: Path) -> Program:
    """The embedded broker on `address`, with its log of messages in `folder`/broker."""
    command = (sys.executable, "-m", "sagas.broker.embedded", "--address", address, "--data", str(folder / BROKER))
    return Program(name=BROKER, command=command)


def saga_programs() -> tuple[Program, ...]:
    """The orchestrator and the four services."""
    orchestrator = Program(name=ORCHESTRATOR, command=(sys.executable, "-m", "sagas", "run", "services.orders.saga"))
    services = (Program(name=name, command=(sys.executable, "-m", f"services.{name}")) for name in SERVICES)
    return (orchestrator, *services)


def front_programs() -> tuple[Program, ...]:
    """What customers see, what makes it, and who reads along."""
    return tuple(
        Program(name=name, command=(sys.executable, "-m", f"services.{name}")) for name in (*FRONT, *CONSUMERS)
    )


def with_metrics(programs: Sequence[Program], port: int) -> tuple[Program, ...]:
    """`programs` with their metrics on `port` and those behind it, one for each but the broker; none when it is 0."""
    if not port:
        return tuple(programs)
    measured = [program.name for program in programs if program.name != BROKER]
    return tuple(
        msgspec.structs.replace(
            program, environ={**program.environ, "SAGAS_METRICS_PORT": str(port + measured.index(program.name))}
        )
        if program.name in measured
        else program
        for program in programs
    )


def free_address(*ports: int, host: str = "127.0.0.1") -> str:
    """An address of `host` that nobody listens on: with one of `ports`, Iggy's own if none is given, or any."""
    for port in (*(ports or (PORT_USUAL,)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return f"{host}:{probe.getsockname()[1]}"
    raise ProcessError(f"no port of {host} can be had; set IGGY_CONNECTION_STRING to a server that runs")


def settled_address(said: str) -> str:
    """`said`, a host and a port, with one that is free in place of port 0: others are to be told where it is."""
    host, _, port = said.rpartition(":")
    return said if int(port) else free_address(0, host=host)


def pid_path(folder: Path, name: str) -> Path:
    """Where the pid of a process stands."""
    return folder / "run" / f"{name}.pid"


def log_path(folder: Path, name: str) -> Path:
    """Where the output of a process goes."""
    return folder / "logs" / f"{name}.log"


def make_folders(folder: Path, *, said_by: str = DATA) -> None:
    """Have the data folder there, with those of logs and pid files, for this user only. Raises SettingsError."""
    for path in (folder, folder / "run", folder / "logs"):
        make_data_folder(path, said_by=said_by)


def stop_leftovers(folder: Path) -> list[str]:
    """End what an earlier start left running in this folder; the names of what was there."""
    known = (*FRONT, *CONSUMERS, *SERVICES, ORCHESTRATOR, BROKER)
    names = [name for name in known if pidfile.holder(pid_path(folder, name)) is not None]
    pidfile.stop([pid_path(folder, name) for name in names if name != BROKER])
    pidfile.stop([pid_path(folder, BROKER)])
    return names


class Child:
    """One process of ours: started, watched, and started again."""

    def __init__(self, program: Program, folder: Path, environ: Mapping[str, str]) -> None:
        self.name = program.name
        self._program = program
        self._folder = folder
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._started_s = 0.0
        self._backoff_s = 0.0

    def start(self) -> None:
        """Start it. Raises ProcessError when one of its name runs in this folder already."""
        with leaving.later():
            self._start()

    def _start(self) -> None:
        descriptor = pidfile.hold(pid_path(self._folder, self.name))
        if descriptor is None:
            raise ProcessError(f"{self.name} runs already in {self._folder}; `make down` stops it")
        try:
            with log_path(self._folder, self.name).open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module names
                    self._program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**self._environ, **self._program.environ},
                    start_new_session=True,
                    pass_fds=(descriptor,),
                )
            pidfile.note(descriptor, self._process.pid)
        finally:
            os.close(descriptor)  # from here on only the process itself holds the lock
        self._started_s = time.monotonic()

    def has_ended(self) -> bool:
        """Whether it was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def is_ready(self) -> bool:
        """Whether it has said that it is up, since it was last started."""
        with log_path(self._folder, self.name).open("rb") as log:
            log.seek(self._log_start)
            return any(line.startswith(b"ready") for line in log)

    def failure(self) -> ProcessError:
        """That it did not come up or has ended, with the end of its log."""
        code = self._process.poll() if self._process is not None else None
        what = "is not ready" if code is None else f"has ended with exit code {code}"
        path = log_path(self._folder, self.name)
        said = path.read_bytes()[self._log_start :][-_LOG_BYTES_SHOWN:].decode(errors="replace").strip()
        return ProcessError(f"{self.name} {what}; {path} says:\n{said or '(nothing)'}")

    def revive(self) -> bool:
        """Start it again if it has ended and has waited long enough; whether it was. Raises ProcessError, OSError."""
        if not self.has_ended():
            return False
        if time.monotonic() - self._started_s > HEALTHY_S:
            self._backoff_s = 0.0
        if time.monotonic() < self._started_s + self._backoff_s:
            return False
        self._backoff_s = min(max(self._backoff_s * 2, BACKOFF_S_FIRST), BACKOFF_S_MAX)
        self._started_s = time.monotonic()  # should it not start, it is to wait as well
        self.start()
        return True

    def reap(self) -> None:
        """Take the exit code of a process that was stopped, so that no entry of it stays."""
        if self._process is not None:
            self._process.wait()


class Fleet:
    """The processes of one data folder, the broker first; use it in a `with` block, whose end stops them."""

    def __init__(self, folder: Path, programs: Sequence[Program], environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._children = [Child(program, folder, environ) for program in programs]

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds_max: float = READY_S_MAX) -> None:
        """Start all and wait until all are up. Raises ProcessError with the log of the one that is not."""
        until = time.monotonic() + seconds_max
        # The others wait for a broker that is not there, but a second later than they need to.
        for wave in (
            [c for c in self._children if c.name == BROKER],
            [c for c in self._children if c.name != BROKER],
        ):
            for child in wave:
                log_path(self._folder, child.name).unlink(missing_ok=True)
                child.start()
            for child in wave:
                _wait_ready(child, until)

    def check(self) -> None:
        """Raise ProcessError if one has ended."""
        for child in self._children:
            if child.has_ended():
                raise child.failure()

    def revive(self) -> list[str]:
        """Start again what has ended; what to say of each. What cannot be started now is tried again later."""
        told: list[str] = []
        for child in self._children:
            try:
                if child.revive():
                    told.append(f"{child.name} had ended and was started again")
            except (ProcessError, OSError) as error:
                # A disk that is full, say: the others go on, and when there is room so does this one.
                told.append(f"{child.name} has ended and cannot be started now: {error}")
        return told

    def stop(self) -> list[str]:
        """Stop all, the broker last, so that what is under way can be drained; those that had to be killed."""
        names = [child.name for child in self._children]
        killed = pidfile.stop([pid_path(self._folder, name) for name in names if name != BROKER])
        killed += pidfile.stop([pid_path(self._folder, name) for name in names if name == BROKER])
        for child in self._children:
            child.reap()
        return killed


def _wait_ready(child: Child, until: float) -> None:
    while not child.is_ready():
        if child.has_ended() or time.monotonic() > until:
            raise child.failure()
        time.sleep(pidfile.POLL_S)
