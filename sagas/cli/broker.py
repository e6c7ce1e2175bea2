"""`sagas broker`: the embedded broker."""

import asyncio
import logging
from pathlib import Path

import click
from rich_click import RichCommand

from sagas.cli.output import explained, fail
from sagas.cli.settings import settings_here
from sagas.streams import announce

PURPOSE = """\
The embedded broker speaks Apache Iggy's TCP protocol: for development, tests and demos, on this machine only.
It keeps its log on disk, so a restart loses nothing. For production run Apache Iggy and set IGGY_CONNECTION_STRING."""


@click.command(cls=RichCommand)
@click.option(
    "--address",
    default="127.0.0.1:8090",
    metavar="HOST:PORT",
    help="Where to listen, on loopback; 127.0.0.1:8090 by default, port 0 takes a free one.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the log is kept; $SAGAS_DATA/broker by default.",
)
@click.option(
    "--iggy-only",
    "is_iggy_only",
    is_flag=True,
    help="Take no request that Iggy does not have: slower, and what a real Iggy will cost.",
)
@explained
def command(address: str, data: Path | None, is_iggy_only: bool) -> None:
    """Run the embedded broker, for development and tests, until SIGTERM or Ctrl-C.

    Prints a line that begins with `ready` once clients can connect.
    """
    # Imported here: `sagas broker --help` needs no server.
    from sagas.broker.embedded.server import serve

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    announce(PURPOSE)
    folder = data or settings_here().data_dir / "broker"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(serve(address, folder, on_ready=lambda real: announce(f"ready {real}"), is_iggy_only=is_iggy_only))
    except OSError as error:
        fail(f"{folder}: {error.strerror or error}")
