"""`make up`: broker, orchestrator and services in the background, started again when one dies.

`python -m services.up` starts a supervisor that outlives the terminal and returns once everything is
up; `--foreground` is that supervisor. `python -m services.down` ends it and with it everything.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from shlex import quote
from types import FrameType

from sagas.config import CONNECTION_STRING_DEFAULT, Settings
from sagas.config_layers import read_settings
from sagas.errors import SagaError
from sagas.folders import working_folder
from sagas.streams import prepare_streams
from services import pidfile
from services.contracts import STREAM
from services.place import CONNECTION, Place, place_of, sagas_command
from services.processes import (
    Child,
    Fleet,
    Program,
    free_address,
    front_programs,
    log_path,
    make_folders,
    pid_path,
    settled_address,
    stop_leftovers,
    with_metrics,
)

SUPERVISOR = "supervisor"

STOREFRONT_ADDRESS = "SAGAS_STOREFRONT_ADDRESS"
STOREFRONT_PORT = 8000
"""The guide's, for its sample app; another one that is free, if somebody has it."""

READY_S_MAX = 60.0
WATCH_S = 0.2


def main() -> int:
    """Start everything; the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m services.up", description="Start everything in the background.")
    parser.add_argument("--foreground", action="store_true", help="be the supervisor itself, until SIGTERM")
    arguments = parser.parse_args()
    try:
        folder = read_settings(os.environ, folder=working_folder(), stream=STREAM).settings.data_dir
        make_folders(folder)
        return supervise(folder) if arguments.foreground else start(folder)
    except (SagaError, OSError) as error:
        sys.stderr.write(f"up: {error}\n")
        return 1
    except KeyboardInterrupt:
        # The supervisor is out of the terminal's reach: it goes on.
        sys.stderr.write("up: interrupted; what was started goes on: `make down` stops it\n")
        return 130


def start(folder: Path) -> int:
    """Start the supervisor and wait until everything is up."""
    running = pidfile.holder(pid_path(folder, SUPERVISOR))
    if running is not None:
        _say(f"up already, supervisor {running}; `make down` stops it")
        return 0
    log_path(folder, SUPERVISOR).unlink(missing_ok=True)
    program = Program(name=SUPERVISOR, command=(sys.executable, "-m", "services.up", "--foreground"))
    supervisor = Child(program, folder, os.environ)
    supervisor.start()
    until = time.monotonic() + READY_S_MAX
    while not supervisor.is_ready():
        if supervisor.has_ended() or time.monotonic() > until:
            pidfile.stop([pid_path(folder, SUPERVISOR)])
            raise supervisor.failure()
        time.sleep(pidfile.POLL_S)
    said = log_path(folder, SUPERVISOR).read_text(encoding="utf-8")
    _say(said.partition("ready\n")[0].rstrip("\n"))
    return 0


def supervise(folder: Path) -> int:
    """Run everything until SIGTERM or SIGINT, starting again what dies; the exit code."""
    told: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    stop_leftovers(folder)
    place = place_of(os.environ, folder, stream=STREAM)
    storefront = storefront_address(place)
    environ = {**place.environ(os.environ, event_store=True), STOREFRONT_ADDRESS: storefront}
    programs = with_metrics((*place.programs, *front_programs()), place.settings.metrics_port)
    with Fleet(folder, programs, environ) as fleet:
        fleet.start()
        _say(introduction(place, storefront))
        _say("ready")
        while not told:
            time.sleep(WATCH_S)
            for line in fleet.revive():
                _note(f"{time.strftime('%H:%M:%S')} {line}")
    return 0


def storefront_address(place: Place) -> str:
    """Where the storefront listens: as the settings say, the usual port or a free one where they say nothing."""
    said = place.says("storefront_address")
    return settled_address(place.settings.storefront_address) if said else free_address(STOREFRONT_PORT)


def introduction(place: Place, storefront: str) -> str:
    """What a person is told once all is up, with commands to paste."""
    # Commands that are pasted must reach this server, and not the one at the usual address.
    where = ""
    if place.address and place.settings.connection_string != CONNECTION_STRING_DEFAULT:
        where = f"{CONNECTION}={place.settings.connection_string.reveal()} "
    order = '{"order_id": "o-1", "items": [{"product_id": "kettle", "quantity": 1}], "total": "59.98"}'
    sagas = sagas_command()
    return "\n".join(
        [
            place.broker_line,
            f"services   orders  inventory  payments  shipping   data and logs in {place.folder}",
            f"storefront http://{storefront}/",
            f"next:  {where}{sagas} start order '{order}'",
            f"       {sagas} show o-1{_database(place)}",
            "       make down",
        ]
    )


def _database(place: Place) -> str:
    return "" if place.folder == Settings().data_dir else f" --db {quote(str(place.settings.database('orchestrator')))}"


def _note(text: str) -> None:
    try:
        _say(text)
    except OSError:
        # Its log lies on the disk that is full: this is said once there is room, and no reason to stop everything.
        return


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
