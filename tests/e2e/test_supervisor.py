"""The supervisor of `make up`: whatever happens to what it watches, it goes on watching."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services import pidfile
from services.processes import log_path, pid_path
from services.up import SUPERVISOR
from tests.e2e.running import wait_until

pytestmark = pytest.mark.e2e


def test_a_full_disk_keeps_it_from_starting_a_process_again_and_not_from_going_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_"))},
        "SAGAS_DATA": str(data),
        "SAGAS_BROKER_ADDRESS": "127.0.0.1:0",
        "SAGAS_STOREFRONT_ADDRESS": "127.0.0.1:0",
    }
    subprocess.run([sys.executable, "-m", "services.up"], env=environ, check=True, stdout=subprocess.DEVNULL)
    try:
        supervisor = pidfile.holder(pid_path(data, SUPERVISOR))
        shipping = pidfile.holder(pid_path(data, "shipping"))
        assert supervisor is not None
        assert shipping is not None
        # Nothing that the supervisor itself writes finds room: neither a pid, nor what it says.
        soft, hard = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, hard))
        os.kill(shipping, signal.SIGKILL)
        wait_until(lambda: pidfile.holder(pid_path(data, "shipping")) is None, "the service to be gone")
        time.sleep(2)  # in which the supervisor finds it gone, and would start it
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (soft, hard))
        wait_until(lambda: pidfile.holder(pid_path(data, "shipping")) is not None, "the service to be started again")
        assert pidfile.holder(pid_path(data, SUPERVISOR)) == supervisor
        said = log_path(data, SUPERVISOR).read_text(encoding="utf-8")
        assert "shipping had ended and was started again" in said
    finally:
        subprocess.run([sys.executable, "-m", "services.down"], env=environ, check=False, stdout=subprocess.DEVNULL)
