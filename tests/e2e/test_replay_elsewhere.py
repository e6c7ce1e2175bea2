"""`sagas replay` where the topics are not: the wrong stream is named, with who would make them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import WAIT_S_MAX

pytestmark = pytest.mark.e2e

SAGAS = (sys.executable, "-m", "sagas")


def test_a_stream_without_the_topics_is_named_with_what_to_do(tmp_path: Path) -> None:
    broker = subprocess.Popen(
        [*SAGAS, "broker", "--address", "127.0.0.1:0", "--data", str(tmp_path / "broker")], stdout=subprocess.PIPE
    )
    assert broker.stdout is not None
    try:
        with broker.stdout as lines:
            address = next(line.split()[1].decode() for line in lines if line.startswith(b"ready "))
            environ = {
                **os.environ,
                "IGGY_CONNECTION_STRING": f"iggy://iggy:iggy@{address}",
                "IGGY_STREAM": "elsewhere",
                "SAGAS_DATA": str(tmp_path),
            }
            command = [*SAGAS, "replay", "services.projector.projection"]
            ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=WAIT_S_MAX, check=False)
    finally:
        broker.terminate()
        broker.wait(WAIT_S_MAX)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == ("sagas: topic 'orders' of stream 'elsewhere' is not there; its writer makes it (ensure())\n")
