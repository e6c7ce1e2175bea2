"""An orchestrator is stopped in the middle of its work, a second one takes over, and the first is continued.

Iggy ends the session of a silent client after 36 s. A test cannot wait for that, so the first one's line to the broker
is cut: the broker deals its partitions out at once, just as it would then. How long the second waits before it holds
the first for dead is shortened likewise.
"""

import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from services.place import CONNECTION, embedded_connection
from services.processes import Program
from tests.e2e.proxy import Line
from tests.e2e.running import Shop, running_shop, wait_until

pytestmark = pytest.mark.e2e

LEASE_MS = 3_000

RUN = """
import os, sys
from sagas.config import Settings
from sagas.hosting import host_orchestrator
from services.contracts import STREAM
from services.orders.saga import order_saga

settings = Settings.from_environ({**os.environ, "SAGAS_LEASE_MS": sys.argv[1]}, stream=STREAM)
sys.exit(host_orchestrator([order_saga.definition], settings))
"""


def an_orchestrator(name: str) -> Program:
    return Program(name=name, command=(sys.executable, "-c", RUN, str(LEASE_MS)))


def wait_until_up(shop: Shop, name: str) -> None:
    wait_until(lambda: "ready orchestrator" in shop.log(name), f"{name} to be up")


def stop_outside_a_transaction(shop: Shop, name: str) -> None:
    """SIGSTOP; again if it was hit while it held the write lock, for then nobody can take over until it goes on."""
    for _ in range(200):
        shop.signal(name, signal.SIGSTOP)
        if not shop.is_locked():
            return
        shop.signal(name, signal.SIGCONT)
        time.sleep(0.005)
    pytest.fail(f"{name} was always inside a transaction")


def test_a_stopped_orchestrator_is_taken_over_from_and_does_nothing_twice_when_it_is_continued(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop", "first", "second") as shop, Line(shop.place.address) as line:
        shop.start("broker", "orders", "inventory", "payments", "shipping")
        through_the_line = {**shop.environ, CONNECTION: embedded_connection(line.address)}
        shop.launch(an_orchestrator("first"), through_the_line)
        wait_until_up(shop, "first")
        stories = shop.place_orders("early", 16)
        wait_until(lambda: any(run.state == "pay.pending" for run in shop.runs().values()), "a payment to be awaited")

        stop_outside_a_transaction(shop, "first")
        shop.launch(an_orchestrator("second"), shop.environ)
        line.cut()
        stories += shop.place_orders("during", 8)
        shop.wait_for_ends(stories)
        # Nobody waits for its lease: what it has left unread is read by the other as soon as its partitions are.
        wait_until(lambda: "held for dead" in shop.log("second"), "the first to be held for dead")

        line.mend()
        shop.signal("first", signal.SIGCONT)
        wait_until(lambda: "others have taken over; it begins again" in shop.log("first"), "the first to be told")
        stories += shop.place_orders("late", 8)
        shop.wait_for_ends(stories)
        shop.stop("first", "second")
        shop.prove(stories)
        for run in shop.runs().values():
            assert_one_history(shop, run.key)


def assert_one_history(shop: Shop, key: str) -> None:
    """Each entry of the journal begins where the one before it ended: no transition was made twice."""
    run = shop.runs()[key]
    journal = shop.journal(run)
    assert [row.revision for row in journal] == list(range(1, run.revision + 1))
    stood = [row.path for row in journal if row.path]
    for before, after in pairwise(stood):
        assert after[0] == before[-1], (key, stood)


def test_a_second_orchestrator_shares_the_work_from_its_start(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop", "first", "second") as shop:
        shop.start("broker", "orders", "inventory", "payments", "shipping")
        for name in ("first", "second"):
            shop.launch(an_orchestrator(name), shop.environ)
        for name in ("first", "second"):
            wait_until_up(shop, name)
        stories = shop.place_orders("shared", 16)
        # One of the two dies; the kernel tells the broker, and the other goes on at once.
        os.kill(shop.pid("first"), signal.SIGKILL)
        shop.wait_for_ends(stories)
        shop.stop("first", "second")
        shop.prove(stories)
