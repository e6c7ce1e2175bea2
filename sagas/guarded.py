"""The outermost frame of a process: how it logs, what its files may be read by, and how it ends when it cannot go on.

What the surroundings have done (a setting, a database, a broker, a file) is one line on stderr and the exit code 1; a
bug keeps its traceback.
"""

import logging
import os
import sys
from collections.abc import Callable

from sagas.config import Settings
from sagas.errors import SagaError, alone_in
from sagas.folders import make_data_folder
from sagas.streams import prepare_streams

_FILE_MASK = 0o077  # what a process writes is its user's business: payloads hold customers' data


def guarded(name: str, settings: Settings, start: Callable[[], None]) -> int:
    """Run `start` as the process `name`; the exit code."""
    os.umask(_FILE_MASK)
    prepare_streams()
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")  # of Iggy's client: more only hand each request to each other
    logging.basicConfig(
        stream=sys.stderr, level=settings.log_level, format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s"
    )
    try:
        make_data_folder(settings.data_dir)
        start()
    except (SagaError, OSError, ExceptionGroup) as error:
        found = alone_in(error)
        if not isinstance(found, SagaError | OSError):
            raise
        return failed(name, found)
    except KeyboardInterrupt:
        return 0
    return 0


def failed(name: str, error: Exception) -> int:
    """Say why the process `name` cannot go on; the exit code."""
    sys.stderr.write(f"{name}: {error}\n")
    return 1
