"""A broker in a process of its own, as it is run in earnest, and how it is ended."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_START_MAX_S = 10.0


class RunningBroker:
    """A broker on `data`, on a port that was free; `address` is where."""

    def __init__(self, data: Path, *options: str, program: Sequence[str] = ("-m", "sagas.broker.embedded")) -> None:
        command = [sys.executable, *program, "--address", "127.0.0.1:0", "--data", str(data), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.address = self._ready_address()
        self.port = int(self.address.rpartition(":")[2])

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal the process and wait for its end; the exit code and what it said on stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=_START_MAX_S)
        return self.process.returncode, errors.decode()

    def _ready_address(self) -> str:
        assert self.process.stdout is not None
        said = b""
        while select.select([self.process.stdout], [], [], _START_MAX_S)[0]:
            piece = os.read(self.process.stdout.fileno(), 4096)
            said += piece
            for line in said.splitlines(keepends=True):
                if line.startswith(b"ready ") and line.endswith(b"\n"):
                    return line.decode().split()[1]
            if not piece:
                break
        _, errors = self.end(signal.SIGKILL)
        raise AssertionError(f"the broker did not get ready: {said!r} {errors}")


@contextmanager
def running_broker(data: Path, *options: str) -> Generator[RunningBroker]:
    """A broker that is stopped when the block ends, if it still runs."""
    broker = RunningBroker(data, *options)
    try:
        yield broker
    finally:
        if broker.process.returncode is None:
            broker.end(signal.SIGKILL)
