"""Processes that are started again when they end, and what is in the way of that."""

import os
import resource
import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from services import pidfile
from services.processes import Fleet, Program, make_folders, pid_path

LIVES = "import signal; print('ready', flush=True); signal.pause()"
WAIT_S_MAX = 20.0


@contextmanager
def a_full_disk() -> Generator[None, None, None]:
    """Nothing that this process writes finds room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def a_fleet(folder: Path) -> Generator[Fleet, None, None]:
    """One process, `orders`, that is up."""
    make_folders(folder)
    program = Program(name="orders", command=(sys.executable, "-c", LIVES))
    with Fleet(folder, [program], os.environ) as fleet:
        fleet.start()
        yield fleet


def revived(fleet: Fleet, *, is_full: bool) -> Sequence[str]:
    """What is said first of a process that has ended."""
    until = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < until:
        if is_full:
            with a_full_disk():
                said = fleet.revive()
        else:
            said = fleet.revive()
        if said:
            return said
        time.sleep(pidfile.POLL_S)
    pytest.fail("nothing was said of it")


def test_what_finds_no_room_to_be_started_again_is_as_soon_as_there_is_some(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        first = pidfile.holder(pid_path(tmp_path, "orders"))
        assert first is not None
        os.kill(first, signal.SIGKILL)

        (said,) = revived(fleet, is_full=True)
        assert said.startswith("orders has ended and cannot be started now: ")
        assert pidfile.holder(pid_path(tmp_path, "orders")) is None, "somebody runs whose pid stands nowhere"

        assert revived(fleet, is_full=False) == ["orders had ended and was started again"]
        assert pidfile.holder(pid_path(tmp_path, "orders")) not in (None, first)
    assert pidfile.holder(pid_path(tmp_path, "orders")) is None
