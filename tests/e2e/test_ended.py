"""What starts processes and is ended from outside, by `timeout` or a CI that has waited for long enough: none stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services import pidfile
from tests.e2e.running import WAIT_S_MAX, heed_ctrl_c, wait_until

pytestmark = pytest.mark.e2e

COMMANDS = {
    "demo": ("services.demo", "--orders", "1000"),
    "producers": ("services.producers", "--orders", "1000"),
    "chaos": ("services.chaos", "--kills", "200"),
    "scaling": ("services.scaling", "--seconds", "60"),
    "bench": ("benchmarks", "system"),
}
KEEPS_ITS_FOLDER = ("demo", "producers")


@pytest.fixture(params=COMMANDS)
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    name: str = request.param
    command = [sys.executable, "-m", *COMMANDS[name]]
    if name in KEEPS_ITS_FOLDER:
        command += ["--data", str(tmp_path / "data")]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    ) as process:
        yield process
        process.kill()
    for pid in {*living(tmp_path), *told_of(tmp_path)}:
        os.kill(pid, signal.SIGKILL)


def test_what_it_started_ends_with_it(started: subprocess.Popen[bytes], tmp_path: Path) -> None:
    wait_until(lambda: bool(living(tmp_path)) or started.poll() is not None, "a process to be started")
    pids = living(tmp_path)
    assert pids, "it has ended by itself"
    started.terminate()
    assert started.wait(WAIT_S_MAX) == 128 + signal.SIGTERM
    assert living(tmp_path) == []
    assert [pid for pid in pids if is_there(pid)] == []
    assert told_of(tmp_path) == []


@pytest.mark.parametrize("started", sorted(COMMANDS.keys() - {"bench"}), indirect=True)  # click says its own "Aborted!"
def test_ctrl_c_stops_what_it_started_without_a_traceback(started: subprocess.Popen[bytes], tmp_path: Path) -> None:
    wait_until(lambda: bool(living(tmp_path)) or started.poll() is not None, "a process to be started")
    assert living(tmp_path), "it has ended by itself"
    started.send_signal(signal.SIGINT)
    said, errors = started.communicate(timeout=WAIT_S_MAX)
    # Where it came while a text was being executed, in the import of a dataclass for one, Python ends itself by the
    # signal though the program has dealt with it. To a shell that is 130 as well.
    assert started.returncode in {130, -signal.SIGINT}, errors.decode()
    assert b"Traceback" not in errors, errors.decode()
    assert b"interrupted" in said + errors
    assert living(tmp_path) == []
    assert told_of(tmp_path) == []


def living(folder: Path) -> Sequence[int]:
    """The processes that were started in the data folders below `folder`."""
    return [pid for path in folder.glob("**/run/*.pid") if (pid := pidfile.holder(path)) is not None]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def told_of(folder: Path) -> Sequence[int]:
    """The processes that have the folder in their environment, as all that are started here have; Linux knows."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended meanwhile, or is not ours
    return found


def test_a_reader_of_the_demo_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", *COMMANDS["demo"], "--data", str(tmp_path / "data")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert demo.stdout is not None
    assert demo.stderr is not None
    with demo.stdout as output, demo.stderr as errors:
        assert output.readline().startswith(b"broker")
        output.close()
        assert errors.read() == b""
    assert demo.wait(WAIT_S_MAX) == 1
    assert living(tmp_path) == []


@pytest.mark.parametrize(
    ("streams", "encoding"), [(">&-", "utf-8"), (">&- 2>&- <&-", "utf-8"), ("", "ascii"), ("", "latin-1")]
)
def test_a_demo_whose_output_is_closed_or_of_another_encoding_ends_and_leaves_nothing(
    tmp_path: Path, streams: str, encoding: str
) -> None:
    command = f'exec "{sys.executable}" -m services.demo --orders 1 --data "{tmp_path}/data" {streams}'
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    demo = subprocess.Popen(["/bin/sh", "-c", command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _, errors = demo.communicate(timeout=WAIT_S_MAX)
        assert (demo.returncode, errors) == (0, b"")
        assert told_of(tmp_path) == []
    finally:
        demo.kill()
        for pid in told_of(tmp_path):
            os.kill(pid, signal.SIGKILL)


def test_ctrl_c_while_everything_is_started_says_that_the_supervisor_goes_on(tmp_path: Path) -> None:
    environ = {**os.environ, "SAGAS_DATA": str(tmp_path / "data"), "SAGAS_BROKER_ADDRESS": "127.0.0.1:0"}
    up = subprocess.Popen(
        [sys.executable, "-m", "services.up"], env=environ, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c
    )
    assert up.stderr is not None
    try:
        wait_until(lambda: bool(living(tmp_path)), "the supervisor to be started")
        up.send_signal(signal.SIGINT)
        with up.stderr as errors:
            assert errors.read() == b"up: interrupted; what was started goes on: `make down` stops it\n"
        assert up.wait(WAIT_S_MAX) == 130
    finally:
        subprocess.run([sys.executable, "-m", "services.down"], env=environ, check=False)
    assert living(tmp_path) == []
