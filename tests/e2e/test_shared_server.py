"""`make demo` and its like on a server that others use as well: nobody's messages meet, however the server is named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from sagas.broker.iggy import IggyBroker
from sagas.ports import TopicSpec
from services.contracts import ORDERS, STREAM
from services.place import CONNECTION, CONNECTION_FILE, embedded_connection
from services.processes import Fleet, broker_program, free_address, make_folders

pytestmark = pytest.mark.e2e

COMMANDS = {
    "demo": ("services.demo", "--orders", "2"),
    "producers": ("services.producers", "--orders", "1"),
    "scaling": ("services.scaling", "--seconds", "0.2"),
}
KEEPS_ITS_FOLDER = ("demo", "producers")

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("IGGY_", "SAGAS_"))}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a server on which others have their topics already."""
    folder = tmp_path_factory.mktemp("server")
    make_folders(folder)
    address = free_address(0)
    with Fleet(folder, (broker_program(address, folder),), ENVIRON) as fleet:
        fleet.start()
        yield embedded_connection(address)


@pytest.mark.parametrize("named_by", [CONNECTION, CONNECTION_FILE])
@pytest.mark.parametrize("name", COMMANDS)
def test_it_runs_there_in_a_stream_of_its_own(name: str, named_by: str, server: str, tmp_path: Path) -> None:
    said = server
    if named_by == CONNECTION_FILE:
        (tmp_path / "connection").write_text(f"{server}\n", encoding="utf-8")
        said = str(tmp_path / "connection")
    of_others = anyio.run(messages_of_others, server)
    run = typed(name, tmp_path, {named_by: said})
    assert run.returncode == 0, run.stdout + run.stderr
    assert server.rpartition("@")[2] in run.stdout.splitlines()[0], "not on the server that was named"
    assert anyio.run(messages_of_others, server) == of_others


@pytest.mark.parametrize("name", ["demo", "producers"])
def test_orders_are_placed_where_start_events_are_read(name: str, server: str, tmp_path: Path) -> None:
    run = typed(name, tmp_path, {CONNECTION: server, "IGGY_TOPIC": "placed"})
    assert run.returncode == 0, run.stdout + run.stderr


def typed(name: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command `name`, with `environ` besides."""
    module, *words = COMMANDS[name]
    if name in KEEPS_ITS_FOLDER:
        words += ["--data", str(folder / "data")]
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env={**ENVIRON, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def messages_of_others(server: str) -> int:
    """How many there are in the stream that everybody has who says nothing of it."""
    broker = IggyBroker.from_connection_string(server, stream=STREAM)
    try:
        await broker.ensure([TopicSpec(name=ORDERS.events, partitions=3)])
        scan = broker.scan(ORDERS.events)
        try:
            return await scan.count()
        finally:
            scan.close()
    finally:
        await broker.close()
