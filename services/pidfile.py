"""Which process is the one we started: a pid file that its process keeps locked as long as it lives.

A pid alone proves nothing, for numbers are given again. The lock is taken before the process is made
and inherited by it, so it ends when that process ends, however it ends, and not when its parent does.
Whoever finds the file locked may trust the number in it; whoever finds it free knows there is nobody.
"""

import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

POLL_S = 0.02

STOP_S_MAX = 12.0
"""From SIGTERM to SIGKILL: above the 10 s within which a process of ours drains."""

_LOCK_S_MAX = 1.0

_NUMBER = "{:>15}\n"
"""Always as long, so that there is room for it before the process is made: without its number nobody could end it."""


def hold(path: Path) -> int | None:
    """Lock the pid file and empty it: the descriptor to hand to the process, None while another lives.

    Raises OSError where the pid could not be written either, as on a full disk.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_S_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody who only looks holds it for a moment; a process that lives holds it for good.
            if time.monotonic() < until:
                time.sleep(POLL_S)
                continue
            os.close(descriptor)
            return None
        try:
            os.pwrite(descriptor, b" " * len(_NUMBER.format(0)), 0)
            os.ftruncate(descriptor, len(_NUMBER.format(0)))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def note(descriptor: int, pid: int) -> None:
    """Write the pid of the process that was given the descriptor."""
    os.pwrite(descriptor, _NUMBER.format(pid).encode(), 0)


def holder(path: Path) -> int | None:
    """The pid of the living process of this file, None when there is none."""
    until = time.monotonic() + _LOCK_S_MAX
    while True:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = path.read_text()
            # It is locked a moment before its number is known.
            if text.endswith("\n") or time.monotonic() > until:
                return int(text) if text.strip().isdecimal() else None
            time.sleep(POLL_S)


def stop(paths: Sequence[Path], seconds_max: float = STOP_S_MAX) -> list[str]:
    """End the living processes of these files: SIGTERM, then SIGKILL. The names of those that had to be killed."""
    told = {path: pid for path in paths if (pid := holder(path)) is not None}
    for pid in told.values():
        _signal(pid, signal.SIGTERM)
    until = time.monotonic() + seconds_max
    while told and time.monotonic() < until:
        time.sleep(POLL_S)
        told = {path: pid for path, pid in told.items() if holder(path) == pid}
    for pid in told.values():
        _signal(pid, signal.SIGKILL)
    return [path.stem for path in told]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended between looking and telling
