"""`make producers`: an old and a new release place orders at the same time, and one saga carries all of them out.

The old one writes the guide's `OrderCreated` of version 1, whose total is a floating-point number of dollars; the new
one version 2, with an exact amount and a currency. Both go to the same topic, in turn. What is shown comes from the
orchestrator's database: every order completed, and its total to the cent, whichever release wrote it.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal
from uuid import uuid4

import anyio
import msgspec

from sagas.broker.iggy import IggyBroker
from sagas.core.envelope import encode_envelope
from sagas.core.instance import COMPLETED, Instance
from sagas.errors import SagaError
from sagas.ports import InstanceFilter, Outgoing
from sagas.store.sqlite import SqliteStore
from sagas.streams import prepare_streams
from services.contracts import ORDERS
from services.demo import empty
from services.leaving import end_in_order
from services.orders.saga import order_saga
from services.place import Place, begun, place_of, stream_of_its_own
from services.processes import Fleet

FOLDER = Path(".sagas/producers")
ORDERS_DEFAULT = 10
TOTALS = ("59.98", "0.10", "1234.05", "19.99", "70.70")
"""Of orders; 0.1 and 70.70 are no binary fractions, so a float that was rounded on the way would show."""

ENDED_S_MAX = 60.0
LOOK_S = 0.05

Version = Literal[1, 2]


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a producer placed it."""

    order_id: str
    version: Version
    total: str


def orders_of(version: Version, count: int) -> list[Placed]:
    """The orders that the release with this version places."""
    return [
        Placed(order_id=f"v{version}-{number + 1:03}", version=version, total=TOTALS[number % len(TOTALS)])
        for number in range(count)
    ]


def message_of(placed: Placed, *, message_id: str, now_ms: int) -> Outgoing:
    """What the release writes: the same envelope, `data` in its own version."""
    data: dict[str, object] = {"version": str(placed.version), "items": [{"product_id": "kettle", "quantity": 1}]}
    if placed.version == 1:
        data |= {"user_id": "u-1", "total": float(placed.total)}
    else:
        data |= {"total": placed.total, "currency": "USD"}
    payload = encode_envelope(
        message_id, ORDERS.key, placed.order_id, "order.created", now_ms, msgspec.json.encode(data)
    )
    return Outgoing(id=message_id, topic=ORDERS.events, key=placed.order_id, payload=payload)


def problems_of(placed: Sequence[Placed], ended: Sequence[Instance]) -> list[str]:
    """What did not come out as it was placed, [] for nothing."""
    runs = {instance.key: instance for instance in ended}
    problems: list[str] = []
    for order in placed:
        run = runs.get(order.order_id)
        if run is None or run.state != COMPLETED:
            problems.append(f"{order.order_id} is {run.state if run else 'not there'}, not completed")
            continue
        data = msgspec.json.decode(run.data, type=dict[str, object])
        if Decimal(str(data["total"])) != Decimal(order.total) or data["currency"] != "USD":
            problems.append(f"{order.order_id}: {order.total} USD became {data['total']} {data['currency']}")
    return problems


def main() -> int:
    """Run it; the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m services.producers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="of each version; 10 by default")
    parser.add_argument("--data", type=Path, default=FOLDER, help="data folder, emptied at the start")
    arguments = parser.parse_args()
    if not 1 <= arguments.orders <= 1_000:
        parser.error(f"--orders {arguments.orders}: expected 1 to 1000")
    end_in_order()
    try:
        return run(arguments.data, arguments.orders)
    except (SagaError, OSError) as error:
        sys.stderr.write(f"producers: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("producers: interrupted, everything it started is stopped\n")
        return 130


def run(folder: Path, count: int) -> int:
    """Everything in `folder`; the exit code."""
    empty(folder)
    place = place_of(os.environ, folder, stream=stream_of_its_own(os.environ, "producers"), always_stream=True)
    _say(place.broker_line)
    old, new = orders_of(1, count), orders_of(2, count)
    with Fleet(folder, place.programs, place.environ(os.environ)) as fleet:
        fleet.start()
        anyio.run(_both, place, old, new)
        ended = _wait(place, 2 * count, fleet)
    problems = problems_of([*old, *new], ended)
    for version, placed in ((1, old), (2, new)):
        total = sum(Decimal(order.total) for order in placed)
        wrong = len(problems_of(placed, ended))
        completed = f"{len(placed) - wrong} completed as placed"
        _say(f"version {version}   {len(placed)} orders placed, {completed}   {total} USD")
    for problem in problems[:20]:
        _say(f"WRONG: {problem}")
    return 1 if problems else 0


async def _both(place: Place, old: Sequence[Placed], new: Sequence[Placed]) -> None:
    async with anyio.create_task_group() as tasks:
        for placed in (old, new):
            tasks.start_soon(_produce, place, placed)


async def _produce(place: Place, placed: Sequence[Placed]) -> None:
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream=place.settings.stream)
    try:
        for order in placed:
            message = message_of(order, message_id=str(uuid4()), now_ms=time.time_ns() // 1_000_000)
            await broker.publish([begun(message, place.settings)])
    finally:
        await broker.close()


def _wait(place: Place, count: int, fleet: Fleet) -> list[Instance]:
    """The runs, once all have ended, or as they are when the time is over."""
    store = SqliteStore(place.settings.database("orchestrator"), read_only=True)
    until = time.monotonic() + ENDED_S_MAX
    try:
        while True:
            fleet.check()
            runs = store.instances(InstanceFilter(saga=order_saga.name, count_max=count + 1))
            if sum(run.is_ended for run in runs) >= count or time.monotonic() > until:
                return runs
            time.sleep(LOOK_S)
    finally:
        store.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
