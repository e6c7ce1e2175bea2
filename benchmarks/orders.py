"""What the README's numbers come from: `make bench`.

Everything that production has is on: the embedded broker, the orchestrator and four services as
processes of their own, SQLite with synchronous=FULL, inbox, journal, outbox and barrier. Machines are
noisy, so each whole-system figure stands beside what the same messages cost with the bare client in
the same run. Prints a table, and the same as JSON with --json.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import anyio

from sagas.broker.iggy import IggyBroker
from sagas.core.effects import Reply, Start
from sagas.core.kernel import decide
from sagas.ports import Outgoing, Position, TopicSpec
from sagas.store.sqlite import SqliteStore
from services.orders.saga import OrderData, order_saga
from services.place import Place, place_of
from services.processes import Fleet, make_folders
from services.stories import Kind, Story, message_of

ONE_AT_A_TIME = 60
MESSAGES_PER_ORDER = 9
"""Of a four-step order that completes: its start, four commands and four answers."""


def main() -> int:
    """Run all; the exit code."""
    parser = argparse.ArgumentParser(description="Orders a second, their latency, and what the parts allow.")
    parser.add_argument("--orders", type=int, default=2_000, help="of the throughput row")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    figures: dict[str, float] = {"decide_us": decide_us()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folders(folder)
        place = place_of({k: v for k, v in os.environ.items() if k == "IGGY_CONNECTION_STRING"}, folder, stream="bench")
        with Fleet(folder, place.programs, place.environ(os.environ)) as fleet:
            fleet.start()
            figures |= anyio.run(_whole, place, arguments.orders)
            figures |= anyio.run(_bare_client, place, arguments.orders)
    figures["share_of_bare_client"] = figures["orders_per_s"] / figures["bare_client_orders_per_s"]
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    for key, value in figures.items():
        print(f"{key:<28}{value:>12,.2f}")
    return 0


def decide_us() -> float:
    """Microseconds for one call of `decide`, over whole orders, median of five rounds."""
    definition = order_saga.definition
    order = OrderData("o-1", (), "59.98", "card-ok", "1 Harbour Street")
    body = b'{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}'
    data = definition.encode_data(order).replace(b'"items":[]', b'"items":[{"product_id":"123","quantity":2}]')
    replies = [
        Reply(step="create", operation="do", event_type="order.created", data=body),
        Reply(step="reserve", operation="do", event_type="inventory.reserved", data=b"{}"),
        Reply(step="pay", operation="do", event_type="payment.processed", data=b'{"payment_id":"p"}'),
        Reply(step="ship", operation="do", event_type="order.shipped", data=b'{"tracking":"t"}'),
    ]
    rounds: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(1_000):
            instance = decide(definition, None, Start(key="o-1", data=data), 1_000).instance
            for reply in replies:
                instance = decide(definition, instance, reply, 1_001).instance
            assert instance is not None
            assert instance.state == "completed"
        rounds.append((time.perf_counter() - began) * 1e6 / 5_000)
    return statistics.median(rounds)


async def _whole(place: Place, count: int) -> dict[str, float]:
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream=place.settings.stream)
    store = SqliteStore(place.settings.database("orchestrator"), read_only=True)
    try:
        latencies: list[float] = []
        for number in range(ONE_AT_A_TIME):
            message = _order(f"one-{number}", "delivered")
            began = time.perf_counter()
            await broker.publish([message])
            await _until(partial(_has_ended, store, message.key))
            latencies.append((time.perf_counter() - began) * 1e3)
        latencies = sorted(latencies[ONE_AT_A_TIME // 6 :])
        # One in five turns back, as on a bad day.
        batch = [_order(f"many-{n}", "card declined" if n % 5 == 4 else "delivered") for n in range(count)]
        cpu_before, began = _children_cpu_s(place), time.perf_counter()
        await broker.publish(batch)
        await _until(
            lambda: store.counts().get("completed", 0) + store.counts().get("compensated", 0) >= count + ONE_AT_A_TIME
        )
        seconds = time.perf_counter() - began
        cpu_s = _children_cpu_s(place) - cpu_before
    finally:
        store.close()
        await broker.close()
    return {
        "one_at_a_time_p50_ms": statistics.median(latencies),
        "one_at_a_time_p99_ms": latencies[int(len(latencies) * 0.99)],
        "orders_per_s": count / seconds,
        "cpu_ms_per_order": cpu_s * 1e3 / count,
    }


async def _bare_client(place: Place, orders: int) -> dict[str, float]:
    """The messages of as many orders, sent and polled with the client alone, in batches of 100."""
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream="bare")
    try:
        await broker.ensure([TopicSpec(name="bare")])
        subscription = await broker.subscribe("bare", ["bare"])
        count = orders * MESSAGES_PER_ORDER
        payload = _order("bare", "delivered").payload
        batch = [Outgoing(id=str(uuid4()), topic="bare", key=str(n), payload=payload) for n in range(100)]
        began, read = time.perf_counter(), 0
        for _ in range(count // 100):
            await broker.publish(batch)
        while read < count // 100 * 100:
            polled = await subscription.poll(1_000)
            read += len(polled)
            last = {(m.topic, m.partition): m.offset for m in polled}
            await subscription.commit([Position(topic=t, partition=p, offset=o) for (t, p), o in last.items()])
        seconds = time.perf_counter() - began
    finally:
        await broker.close()
    return {"bare_client_orders_per_s": orders / seconds}


def _order(key: str, kind: Kind) -> Outgoing:
    story = Story(number=1, kind=kind, order_id=key)
    return message_of(story, message_id=str(uuid4()), now_ns=time.time_ns())


def _has_ended(store: SqliteStore, key: str) -> bool:
    instance = store.instance("order", key)
    return instance is not None and instance.is_ended


async def _until(condition: Callable[[], bool], sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
    with anyio.fail_after(300):
        while not condition():
            await sleep(0.002)


def _children_cpu_s(place: Place) -> float:
    """CPU seconds of all processes of the fleet so far, from /proc."""
    ticks = 0
    for path in (place.folder / "run").glob("*.pid"):
        fields = Path(f"/proc/{path.read_text().strip()}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
