"""What ends a command half way, Ctrl-C or its database: what was done until then is said, and a shell sees why."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sagas.ports import InstanceFilter
from sagas.store.sqlite import SqliteStore
from tests.cli.conftest import Terminal, a_stuck_trip, write
from tests.e2e.running import heed_ctrl_c, wait_until
from tests.rules.source import ROOT

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("is_json", [False, True])
def test_retrying_many_is_stopped_between_two_and_tells_how_many_there_were(tmp_path: Path, is_json: bool) -> None:
    terminal = Terminal(tmp_path)
    write(terminal, [a_stuck_trip(f"t-{number}") for number in range(30)])
    words = ["retry", "--all", "--yes", "--per-second", "1", "-m", "tests.core.trip", *(["--json"] if is_json else [])]

    typed = subprocess.Popen(
        [sys.executable, "-m", "sagas", *words],
        env={**os.environ, "SAGAS_DATA": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    )
    wait_until(lambda: stuck(terminal) < 30, "one to be retried")
    typed.send_signal(signal.SIGINT)
    said, errors = typed.communicate()

    retried = 30 - stuck(terminal)
    assert (typed.returncode, b"Traceback" in errors) == (130, False)
    assert 0 < retried < 30
    if is_json:
        assert json.loads(said)["retried"] == retried
    else:
        assert f"{retried} of 30 retried" in said.decode()


def test_exploring_a_large_saga_is_stopped_and_tells_what_was_found_so_far(tmp_path: Path) -> None:
    said, told = tmp_path / "said.txt", tmp_path / "told.txt"
    with said.open("wb") as output, told.open("wb") as progress:
        typed = subprocess.Popen(
            [sys.executable, "-m", "sagas", "check", "tests.check.sagas:branches"],
            cwd=ROOT,
            stdout=output,
            stderr=progress,
            preexec_fn=heed_ctrl_c,
        )
        wait_until(lambda: b"checking job:" in told.read_bytes(), "a word of how far it is")
        typed.send_signal(signal.SIGINT)
        assert typed.wait() == 130
    assert said.read_text(encoding="utf-8").startswith("saga job version 1: OK as far as it was explored")
    assert "Traceback" not in told.read_text(encoding="utf-8")


@pytest.mark.parametrize("is_json", [False, True])
def test_retrying_many_tells_how_many_there_were_when_the_database_fails(tmp_path: Path, is_json: bool) -> None:
    terminal, moved = Terminal(tmp_path / "data"), Terminal(tmp_path / "moved")
    terminal.database.parent.mkdir()
    write(terminal, [a_stuck_trip(f"t-{number}") for number in range(30)])
    words = ["retry", "--all", "--yes", "--per-second", "1", "-m", "tests.core.trip", *(["--json"] if is_json else [])]

    typed = subprocess.Popen(
        [sys.executable, "-m", "sagas", *words],
        env={**os.environ, "SAGAS_DATA": str(terminal.database.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: stuck(terminal) < 30, "one to be retried")
    terminal.database.parent.rename(moved.database.parent)
    said, errors = typed.communicate()

    retried = 30 - stuck(moved)
    assert (typed.returncode, errors.count(b"\n")) == (1, 1), errors.decode()
    assert b"orchestrator.db" in errors
    assert 0 < retried < 30
    if is_json:
        assert json.loads(said)["retried"] == retried
    else:
        assert f"{retried} of 30 retried" in said.decode()


def stuck(terminal: Terminal) -> int:
    """How many still are."""
    store = SqliteStore(terminal.database, read_only=True)
    try:
        return len(store.instances(InstanceFilter(state="stuck", count_max=100)))
    finally:
        store.close()
