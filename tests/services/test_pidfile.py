"""Pid files: only a process that lives holds one, whoever started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from services import pidfile

WAITS = "import sys; sys.stdin.read()"
IGNORES_SIGTERM = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)


@contextmanager
def running(path: Path, program: str = WAITS) -> Generator["subprocess.Popen[bytes]", None, None]:
    """A process that holds the file and ends with the block at the latest."""
    descriptor = pidfile.hold(path)
    assert descriptor is not None
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(descriptor,)
    ) as process:
        pidfile.note(descriptor, process.pid)
        os.close(descriptor)
        try:
            yield process
        finally:
            process.kill()


def test_the_process_that_was_given_the_file_holds_it_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "orders.pid"
    with running(path) as process:
        assert pidfile.holder(path) == process.pid
        assert pidfile.hold(path) is None
        process.kill()
        process.wait()

        assert pidfile.holder(path) is None


def test_a_number_without_a_process_that_holds_it_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "orders.pid"
    path.write_text(f"{os.getpid()}\n")

    assert pidfile.holder(path) is None
    assert pidfile.stop([path]) == []


def test_a_file_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    assert pidfile.holder(tmp_path / "none.pid") is None


def test_a_process_is_asked_to_end_and_does(tmp_path: Path) -> None:
    path = tmp_path / "orders.pid"
    with running(path) as process:
        assert pidfile.stop([path]) == []

        assert process.wait() == -signal.SIGTERM


def test_a_process_that_does_not_end_when_asked_is_killed_and_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.pid"
    with running(path, IGNORES_SIGTERM) as process:
        assert process.stdout is not None
        process.stdout.readline()

        assert pidfile.stop([path], seconds_max=0.1) == ["orders"]

        assert process.wait() == -signal.SIGKILL
