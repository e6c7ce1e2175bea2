"""Real processes, killed with -9 while orders run: every order ends right, and the proof holds.

`make up` is started in a folder of its own; its supervisor starts again what dies. The waiting here is
real: it is bounded, and ends as soon as what is waited for has come.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from sagas.broker.iggy import IggyBroker
from sagas.core.instance import ENDS, Instance
from sagas.ports import InstanceFilter, Outgoing
from sagas.store.sqlite import SqliteStore
from services import pidfile
from services.contracts import STREAM
from services.place import embedded_connection
from services.processes import free_address, log_path, pid_path
from services.proof import ServiceFiles, prove_files
from services.stories import Story, kind_of, message_of

pytestmark = pytest.mark.e2e

WAIT_S_MAX = 40.0
ORDERS_PER_KILL = 24

Shop = tuple[Path, str]
"""The data folder, and the connection string of its broker."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_"))}
    environ["SAGAS_DATA"] = str(folder)
    environ["SAGAS_BROKER_ADDRESS"] = free_address(0)  # not the usual one: other tests run beside this
    subprocess.run([sys.executable, "-m", "services.up"], env=environ, check=True, stdout=subprocess.DEVNULL)
    try:
        yield folder, embedded_connection(_broker_address(folder))
    finally:
        subprocess.run([sys.executable, "-m", "services.down"], env=environ, check=True, stdout=subprocess.DEVNULL)


def _broker_address(folder: Path) -> str:
    lines = log_path(folder, "broker").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("ready"))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_S_MAX
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not within {WAIT_S_MAX} s: {what}")
        time.sleep(0.02)


def publish(shop: Shop, messages: list[Outgoing]) -> None:
    async def send() -> None:
        broker = IggyBroker.from_connection_string(shop[1], stream=STREAM)
        try:
            await broker.publish(messages)
        finally:
            await broker.close()

    anyio.run(send)


def stories(prefix: str) -> list[Story]:
    return [
        Story(number=n, kind=kind_of(n), order_id=f"{prefix}-{n:02}")
        for n in range(1, ORDERS_PER_KILL + 1)
        if kind_of(n) != "the guide's own message"
    ]


def runs(folder: Path, prefix: str) -> dict[str, Instance]:
    store = SqliteStore(folder / "orchestrator.db", read_only=True)
    try:
        found = store.instances(InstanceFilter(saga="order", count_max=1_000))
        return {instance.key: instance for instance in found if instance.key.startswith(prefix)}
    finally:
        store.close()


def all_ended(folder: Path, prefix: str, count: int) -> bool:
    found = runs(folder, prefix)
    return len(found) == count and all(instance.is_ended for instance in found.values())


@pytest.mark.parametrize("victim", ["orchestrator", "orders", "inventory", "payments", "shipping", "broker"])
def test_a_process_killed_in_the_middle_of_orders_comes_back_and_every_order_ends_right(
    shop: Shop, victim: str
) -> None:
    folder, _ = shop
    prefix = f"{victim}-{uuid4().hex[:6]}"
    placed = stories(prefix)
    publish(shop, [message_of(s, message_id=str(uuid4()), now_ns=time.time_ns()) for s in placed])
    wait_until(lambda: len(runs(folder, prefix)) > 0, "the first saga to begin")

    pid = pidfile.holder(pid_path(folder, victim))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: pidfile.holder(pid_path(folder, victim)) not in (None, pid), f"{victim} to be started again")
    wait_until(lambda: all_ended(folder, prefix, len(placed)), "every order to end")

    ended = runs(folder, prefix)
    proof = prove_files(ServiceFiles.within(folder), {run.key: run.state for run in _everything(folder)})
    assert proof.problems == ()
    for story in placed:
        run = ended[story.order_id]
        assert run.state in ENDS
        # A payment service that is away for longer than the payment's 2 s makes an order turn back, rightly.
        is_late = "no answer" in run.cause
        assert (run.state == "completed") == (story.is_to_complete and not is_late), (story, run.state, run.cause)


def _everything(folder: Path) -> list[Instance]:
    store = SqliteStore(folder / "orchestrator.db", read_only=True)
    try:
        return store.instances(InstanceFilter(count_max=1_000))
    finally:
        store.close()


def test_the_guides_own_message_starts_a_saga_that_completes_and_can_be_shown(shop: Shop) -> None:
    folder, _ = shop
    story = Story(number=20, kind="the guide's own message", order_id=str(uuid4()))
    publish(shop, [message_of(story, message_id=str(uuid4()), now_ns=time.time_ns())])
    wait_until(lambda: all_ended(folder, story.order_id, 1), "the guide's order to end")
    database = str(folder / "orchestrator.db")
    shown = subprocess.run(
        [sys.executable, "-m", "sagas", "show", story.order_id, "--db", database],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "completed" in shown.stdout


def test_sigterm_drains_and_ends_with_zero(shop: Shop, tmp_path: Path) -> None:
    environ = {**os.environ, "IGGY_CONNECTION_STRING": shop[1], "IGGY_STREAM": "other", "SAGAS_DATA": str(tmp_path)}
    log = tmp_path / "inventory.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.inventory"], env=environ, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: b"ready inventory" in log.read_bytes(), "inventory to be ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
    assert b"draining" in log.read_bytes()


def test_sigterm_ends_a_process_that_still_waits_for_its_broker(tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "IGGY_CONNECTION_STRING": "iggy://iggy:iggy@127.0.0.1:1",
        "SAGAS_DATA": str(tmp_path),
    }
    log = tmp_path / "orders.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "services.orders"], env=environ, stdout=output, stderr=output)
    try:
        wait_until(lambda: b"waiting for the broker" in log.read_bytes(), "orders to wait for its broker")
        assert b":iggy@" not in log.read_bytes(), "the password is in the log"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
