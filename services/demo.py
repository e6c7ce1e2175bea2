"""`make demo`: real orders through four services, with the real client, SQLite files and separate processes.

Broker, orchestrator and services are started in a fresh data folder; the orders are published as any
client would; the run of each is read from the orchestrator's database, as `sagas show` does. At the
end stands the proof, and the exit code is 1 if it fails or an order does not come to its end in time.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import anyio

from sagas.broker.iggy import IggyBroker
from sagas.core.durations import elapsed
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, Instance
from sagas.core.story import Names, standing, summary, undo_names
from sagas.errors import SagaError
from sagas.ports import InstanceFilter, Store
from sagas.store.sqlite import SqliteStore
from sagas.streams import give_up_output, prepare_streams
from services.leaving import end_in_order
from services.orders.saga import order_saga
from services.place import Place, begun, place_of, sagas_command, stream_of_its_own
from services.processes import SERVICES, Fleet, ProcessError, make_folders, stop_leftovers, with_metrics
from services.proof import Proof, ServiceFiles, prove_files
from services.stories import Story, kind_of, message_of

FOLDER = Path(".sagas/demo")
ORDERS_DEFAULT = 20
ORDERS_MAX = 1_000

ORDER_S_MAX = 30.0
"""For all orders to come to an end, beside a tenth of a second for each."""

POLL_S = 0.02

_MARK = "made-by-the-demo"


def main() -> int:
    """Run the demo; the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(
        prog="python -m services.demo", description="Real orders through four services, and the proof."
    )
    parser.add_argument("--orders", type=int, default=ORDERS_DEFAULT, help="how many; 20 by default")
    parser.add_argument("--data", type=Path, default=FOLDER, help="data folder, emptied at the start; .sagas/demo")
    arguments = parser.parse_args()
    if not 1 <= arguments.orders <= ORDERS_MAX:
        parser.error(f"--orders {arguments.orders}: expected 1 to {ORDERS_MAX}")
    end_in_order()
    try:
        return _run(arguments.data, arguments.orders)
    except (SagaError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted, everything it started is stopped", file=sys.stderr)
        return 130


def _run(folder: Path, count: int) -> int:
    """The demo; 1 when who read what it prints has seen enough, as `| head` has."""
    try:
        return run(folder, count)
    except* BrokenPipeError:
        # Nobody reads what would be said about it, either.
        give_up_output()
    return 1


def run(folder: Path, count: int) -> int:
    """The whole demo in `folder`; the exit code."""
    empty(folder)
    place = place_of(os.environ, folder, stream=stream_of_its_own(os.environ, "demo"), always_stream=True)
    print(place.broker_line)
    started_s = time.monotonic()
    with Fleet(
        folder, with_metrics(place.programs, place.settings.metrics_port), place.environ(os.environ, event_store=True)
    ) as fleet:
        fleet.start()
        print(f"services   {'  '.join(SERVICES)}   ready in {elapsed(_since_ms(started_s))}", flush=True)
        stories = [_story(number) for number in range(1, count + 1)]
        ended = anyio.run(_place_and_follow, place, stories, fleet)
    _print_table(stories, ended)
    # The processes have stopped: what the proof reads now is all there is.
    proof = prove_files(ServiceFiles.within(folder), {run.key: run.state for run in ended.values()})
    wrong = _wrong(stories, ended) + list(proof.problems)
    _print_end(place, ended, proof, wrong)
    return 1 if wrong else 0


def empty(folder: Path) -> None:
    """Make `folder` a fresh data folder. Raises ProcessError for one that holds anything but an earlier demo."""
    if folder.exists() and not folder.is_dir():
        raise ProcessError(f"{folder} is no folder; name one with --data")
    if folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir()):
        raise ProcessError(f"{folder} holds something that is not a demo's; name another folder with --data")
    if folder.exists():
        stop_leftovers(folder)
        shutil.rmtree(folder)
    make_folders(folder, said_by="--data")
    (folder / _MARK).touch()


def _story(number: int) -> Story:
    kind = kind_of(number)
    order_id = str(uuid4()) if kind == "the guide's own message" else f"order-{number:04}"
    return Story(number=number, kind=kind, order_id=order_id)


# --------------------------------------------------------------------------- the orders


async def _place_and_follow(place: Place, stories: Sequence[Story], fleet: Fleet) -> dict[str, Instance]:
    ended: dict[str, Instance] = {}
    store = SqliteStore(place.settings.database("orchestrator"), read_only=True)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_publish, place, stories)
            await _follow(store, stories, fleet, ended)
    finally:
        store.close()
    return ended


async def _publish(place: Place, stories: Sequence[Story]) -> None:
    broker = IggyBroker.from_connection_string(place.settings.connection_string, stream=place.settings.stream)
    try:
        for story in stories:
            message = message_of(story, message_id=str(uuid4()), now_ns=time.time_ns())
            await broker.publish([begun(message, place.settings)])
    finally:
        await broker.close()


async def _follow(store: Store, stories: Sequence[Story], fleet: Fleet, ended: dict[str, Instance]) -> None:
    """Print each order as it ends, and enter it in `ended` by its id; give up when the time is over."""
    names = undo_names(order_saga.definition)
    until = time.monotonic() + ORDER_S_MAX + len(stories) / 10
    while len(ended) < len(stories) and time.monotonic() < until:
        fleet.check()
        for instance in reversed(store.instances(InstanceFilter(saga=order_saga.name, count_max=len(stories)))):
            if (instance.is_ended or instance.is_stuck) and instance.key not in ended:
                ended[instance.key] = instance
                print(_line(instance, names), flush=True)
        await anyio.sleep(POLL_S)


def _line(instance: Instance, names: Names) -> str:
    told = standing(instance) if instance.state == STUCK else instance.state
    return f"{instance.key}   {summary(instance, names):<86}  {told:<11}  {elapsed(_took_ms(instance))}"


def _took_ms(instance: Instance) -> int:
    return instance.updated_ms - instance.started_ms


def _since_ms(started_s: float) -> int:
    return int((time.monotonic() - started_s) * 1_000)


# --------------------------------------------------------------------------- the end


def _print_table(stories: Sequence[Story], ended: dict[str, Instance]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("story", "orders", "ended", "fastest", "slowest"):
        table.add_column(heading, justify="right" if heading not in ("story", "ended") else "left")
    for kind in dict.fromkeys(story.kind for story in stories):
        of_kind = [story for story in stories if story.kind == kind]
        runs = [ended[story.order_id] for story in of_kind if story.order_id in ended]
        took = sorted(_took_ms(run) for run in runs) or [0]
        states = ", ".join(sorted({run.state for run in runs})) or "not in time"
        table.add_row(kind, str(len(of_kind)), states, elapsed(took[0]), elapsed(took[-1]))
    Console(highlight=False).print(table)


def _wrong(stories: Sequence[Story], ended: dict[str, Instance]) -> list[str]:
    """Orders that did not come to the end their story has."""
    wrong: list[str] = []
    for story in stories:
        run = ended.get(story.order_id)
        right = (COMPLETED,) if story.is_to_complete else (COMPENSATED, REJECTED)
        if run is None:
            wrong.append(f"order {story.order_id} ({story.kind}) did not come to an end in time")
        elif run.state not in right:
            wrong.append(f"order {story.order_id} ({story.kind}) is {run.state}: {run.reason or run.cause}")
    return wrong


def _print_end(place: Place, ended: dict[str, Instance], proof: Proof, wrong: Sequence[str]) -> None:
    states = [run.state for run in ended.values()]
    told = [f"{states.count(state)} {state}" for state in (COMPLETED, COMPENSATED, REJECTED) if states.count(state)]
    print(f"{len(states)} orders: {', '.join(told)}, {states.count(STUCK)} stuck      {proof}")
    for problem in wrong:
        print(f"WRONG: {problem}")
    # The one with most to tell.
    longest = max(ended.values(), key=lambda run: run.revision, default=None)
    sagas = sagas_command()
    if longest is not None:
        print(f"next: {sagas} show {longest.key} --db {place.settings.database('orchestrator')}")
    print(f"      {sagas} diagram {order_saga.name}")
    print("      make up")


if __name__ == "__main__":
    sys.exit(main())
