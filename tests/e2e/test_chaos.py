"""The storm of `make chaos`, a short one."""

import os
import subprocess
import sys

import pytest

from services.place import ADDRESS
from services.processes import free_address


@pytest.mark.e2e
def test_fifteen_blows_at_everything_lose_nothing_and_double_nothing() -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_"))}
    environ[ADDRESS] = free_address(0)  # not the usual one: other tests run beside this
    command = [sys.executable, "-m", "services.chaos", "--kills", "15", "--pause", "0.35"]
    storm = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert storm.returncode == 0, storm.stdout + storm.stderr
    assert "nothing lost, nothing doubled" in storm.stdout
    assert " 0 stuck " in storm.stdout
