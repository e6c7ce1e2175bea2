"""The pointer to a read model's file says nothing: its process ends with a line that says so, like any other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.readmodel.tables import NAME
from tests.e2e.running import WAIT_S_MAX

pytestmark = pytest.mark.e2e


def test_a_projection_whose_pointer_says_nothing_ends_with_one_line(tmp_path: Path) -> None:
    pointer = tmp_path / f"{NAME}.current"
    pointer.write_text("")
    command = [sys.executable, "-m", "services.projector"]
    environ = {**os.environ, "IGGY_CONNECTION_STRING": "iggy://iggy:iggy@127.0.0.1:1", "SAGAS_DATA": str(tmp_path)}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False)

    said = f"{NAME}: {pointer}: says '', expected a number; remove it to begin a new one\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", said)
