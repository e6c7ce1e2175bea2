"""The herd of `make chaos`: what is struck, and from when on it is missed."""

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import pytest

from services import herd, pidfile
from services.processes import Program, make_folders, pid_path

WAIT_S_MAX = 20.0

DIES_SLOWLY = """
import os, signal, time
def end(number, frame):
    os.closerange(3, 256)  # as when a process is killed: its lock is gone a moment before it is
    time.sleep(60)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""


class Clock:
    """The time of day of a herd, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_a_process_that_was_struck_after_a_long_life_is_not_missed_while_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(herd, "time", clock)
    monkeypatch.setattr(herd, "BLOWS", [(signal.SIGTERM, 1)])
    make_folders(tmp_path)
    program = Program(name="orders", command=(sys.executable, "-c", DIES_SLOWLY))
    with herd.Herd(tmp_path, [program], os.environ, Random(1)) as struck:
        struck.start()
        until = time.monotonic() + WAIT_S_MAX
        while not struck.are_all_up and time.monotonic() < until:
            struck.tend()
        pid = pidfile.holder(pid_path(tmp_path, "orders"))
        assert pid is not None
        try:
            clock.now_s += herd.READY_S_MAX + 1
            assert struck.strike()
            while pidfile.holder(pid_path(tmp_path, "orders")) is not None and time.monotonic() < until:
                time.sleep(pidfile.POLL_S)
            struck.tend()
        finally:
            os.kill(pid, signal.SIGKILL)
