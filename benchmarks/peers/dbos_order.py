"""The order saga on DBOS: four steps, and the undos of those that were done when one is refused.

`benchmarks.peers` runs it.

Runs in an environment of its own (requirements-peers.lock), so it imports nothing of this project. The participants are
functions in the same process that do nothing: whatever DBOS commits is its own bookkeeping. One JSON line at the end.
"""

import argparse
import json
import logging
import os
import resource
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import uuid4

from dbos import DBOS, DBOSConfig, SetWorkflowID


class Declined(Exception):
    """The card was declined."""


@DBOS.step()
def create(order_id: str) -> str:
    return order_id


@DBOS.step()
def reserve(order_id: str) -> str:
    return order_id


@DBOS.step()
def pay(order_id: str, is_declined: bool) -> str:
    if is_declined:
        raise Declined(order_id)
    return order_id


@DBOS.step()
def ship(order_id: str) -> str:
    return order_id


@DBOS.step()
def release(order_id: str) -> str:
    return order_id


@DBOS.step()
def compensate(order_id: str) -> str:
    return order_id


@DBOS.workflow()
def order(order_id: str, is_declined: bool) -> str:
    create(order_id)
    reserve(order_id)
    try:
        pay(order_id, is_declined)
    except Declined:
        release(order_id)
        compensate(order_id)
        return "compensated"
    ship(order_id)
    return "completed"


def run(order_id: str, is_declined: bool) -> str:
    with SetWorkflowID(order_id):
        return order(order_id, is_declined)


def measure(count: int, single: int, threads: int) -> dict[str, float]:
    prefix = uuid4().hex[:8]
    took: list[float] = []
    for number in range(single):
        began = time.perf_counter()
        assert run(f"{prefix}-one-{number}", False) == "completed"
        took.append((time.perf_counter() - began) * 1e3)
    cpu_before, began = cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        ends = list(pool.map(lambda n: run(f"{prefix}-{n}", n % 5 == 4), range(count)))
    seconds, cpu = time.perf_counter() - began, cpu_s() - cpu_before
    assert ends.count("compensated") == count // 5
    took = sorted(took[single // 6 :])
    return {
        "per_second": count / seconds,
        "cpu_ms": cpu * 1e3 / count,
        "p50_ms": median(took),
        "p99_ms": took[int(len(took) * 0.99)],
    }


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wal", action="store_true", help="journal_mode=WAL, which DBOS does not set itself")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--single", type=int, default=60)
    parser.add_argument("--threads", type=int, default=16)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dbos.sqlite"
        if arguments.wal:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
        config: DBOSConfig = {"name": "orders", "system_database_url": f"sqlite:///{path}", "run_admin_server": False}
        DBOS(config=config)
        DBOS.launch()
        figures = measure(arguments.count, arguments.single, arguments.threads)
        figures["kib_on_disk"] = (
            sum(f.stat().st_size for f in Path(folder).iterdir()) / 1024 / (arguments.count + arguments.single)
        )
    print(json.dumps(figures), flush=True)
    # Its threads for queues and recovery would go on.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
