"""`python -m sagas.broker.embedded --address 127.0.0.1:8090 --data DIR`."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

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
    print(_PURPOSE, flush=True)  # noqa: T201
    try:
        asyncio.run(serve(arguments.address, arguments.data, on_ready=_report_ready, is_iggy_only=arguments.iggy_only))
    except BrokerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _report_ready(address: str) -> None:
    print(f"ready {address}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
