"""`python -m sagas.broker.embedded --address 127.0.0.1:8090 --data DIR`."""

import argparse
import asyncio
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

from sagas.broker.embedded.server import serve
from sagas.errors import BrokerError

_PURPOSE = (
    "A small broker that speaks Apache Iggy's protocol: for development, tests and demos, on this machine only.\n"
    "Its log is kept on disk. For production run Apache Iggy and set IGGY_CONNECTION_STRING."
)


def main() -> int:
    """Run the broker until SIGTERM or SIGINT; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sagas.broker.embedded", description=_PURPOSE, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--address", default="127.0.0.1:8090", help="host:port on loopback; port 0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="the directory to keep the log in")
    parser.add_argument("--iggy-only", action="store_true", help="take no request that Iggy does not have: slower")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    _say(_PURPOSE)
    try:
        asyncio.run(serve(arguments.address, arguments.data, on_ready=_report_ready, is_iggy_only=arguments.iggy_only))
    except BrokerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _report_ready(address: str) -> None:
    _say(f"ready {address}")


def _say(text: str) -> None:
    """Say `text` to whoever reads there; that nobody can is no reason not to serve."""
    if cast("TextIO | None", sys.stdout) is None:  # it was closed when Python began
        return
    with suppress(OSError):
        # Past the buffer: what could not be written would be tried again when the process ends, and fail it.
        os.write(sys.stdout.fileno(), f"{text}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
