"""`make down`: stop what `make up` started, and nothing else."""

import os
import sys

from sagas.config_layers import read_settings
from sagas.errors import SagaError
from sagas.folders import working_folder
from sagas.streams import prepare_streams
from services import pidfile
from services.contracts import STREAM
from services.processes import pid_path, stop_leftovers
from services.up import SUPERVISOR

SUPERVISOR_STOP_S_MAX = 2 * pidfile.STOP_S_MAX + 2
"""It stops the services, then the broker, and each may take its time."""


def main() -> int:
    """Stop everything; the exit code."""
    prepare_streams()
    try:
        folder = read_settings(os.environ, folder=working_folder(), stream=STREAM).settings.data_dir
        path = pid_path(folder, SUPERVISOR)
        was_up = pidfile.holder(path) is not None
        pidfile.stop([path], SUPERVISOR_STOP_S_MAX)
        # A supervisor that was killed leaves its processes behind, each with a locked pid file.
        left = stop_leftovers(folder)
    except (SagaError, OSError) as error:
        sys.stderr.write(f"down: {error}\n")
        return 1
    sys.stdout.write("stopped\n" if was_up or left else "nothing was up\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
