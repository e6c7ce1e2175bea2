"""`make chaos`: everything is killed, stopped and continued at random under load; nothing may be lost or doubled.

Broker, orchestrator and the four services run as separate processes in a fresh folder; orders of every story are
placed without a pause; `herd.py` strikes. Then the blows end, everything has to settle, and the books are proved as in
the demo. The exit code is 1 if an order ends wrongly or not at all, is stuck or becomes a dead letter, if money or
stock does not add up, or if the memory of a process grew. With IGGY_CONNECTION_STRING that server is used, and not
struck.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

import anyio

from sagas.broker.iggy import IggyBroker
from sagas.core.durations import elapsed
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, Instance
from sagas.errors import BrokerError, SagaError
from sagas.ports import InstanceFilter
from sagas.store.sqlite import SqliteStore
from sagas.streams import prepare_streams
from services.herd import Herd
from services.leaving import end_in_order
from services.memory import growth_of
from services.place import Place, begun, place_of, stream_of_its_own
from services.processes import ORCHESTRATOR, ProcessError, log_path, make_folders, with_metrics
from services.proof import Proof, ServiceFiles, prove_files
from services.stories import Story, kind_of, message_of

if TYPE_CHECKING:
    from rich.progress import Progress

KILLS_DEFAULT = 200
KILLS_MAX = 10_000

PAUSE_S = 0.5
"""Between two blows, at the mean: long enough that some work is done, too short for everybody to be up.

With a longer one processes live long enough to show whether their memory grows: `--kills 10 --pause 12`.
"""

PAUSE_S_MAX = 60.0

ORDERS_PER_S = 8.0
ORDERS_MAX = 50_000

TEND_S = 0.05
MEASURE_S = 1.0

SETTLE_S_MAX = 90.0
"""After the last blow: above the time for which timers are held back after a burst, and an order's own."""

PLENTIFUL = ("123",)
"""The product of which the shop has a million: what runs out would change how stories end."""

REPRIEVES = ("no answer", "deadline")
"""Causes for which an order that could have been delivered turns back, rightly: a service was away for too long."""

_LOG_LINES_SHOWN = 20
_PROBLEMS_SHOWN = 20


def main() -> int:
    """Run it; the exit code."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m services.chaos", description="Kill everything, lose nothing.")
    parser.add_argument("--kills", type=int, default=KILLS_DEFAULT, help="how many blows; 200 by default")
    parser.add_argument("--seed", type=int, default=None, help="of all chance; a new one by default")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between two blows; 0.5 by default")
    arguments = parser.parse_args()
    if not 0.05 <= arguments.pause <= PAUSE_S_MAX:
        parser.error(f"--pause {arguments.pause}: expected 0.05 to {PAUSE_S_MAX:.0f}")
    if not 1 <= arguments.kills <= KILLS_MAX:
        parser.error(f"--kills {arguments.kills}: expected 1 to {KILLS_MAX}")
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    end_in_order()
    try:
        with tempfile.TemporaryDirectory(prefix="sagas-chaos-") as folder:
            return run(Path(folder), arguments.kills, seed, arguments.pause)
    except (SagaError, OSError) as error:
        _say(f"chaos: {error}   (seed {seed})")
        return 1
    except KeyboardInterrupt:
        _say("chaos: interrupted, everything it started is stopped")
        return 130


def run(folder: Path, kills: int, seed: int, pause_s: float = PAUSE_S) -> int:
    """The whole storm in `folder`; the exit code."""
    make_folders(folder)
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    stream = stream_of_its_own(os.environ, f"chaos-{seed}")
    place = place_of(os.environ, folder, stream=stream, always_stream=True)
    _say(f"{place.broker_line}\nseed       {seed}, {kills} blows")
    started_s = time.monotonic()
    with Herd(
        folder, with_metrics(place.programs, place.settings.metrics_port), place.environ(os.environ), chance
    ) as herd:
        herd.start()
        storm = Storm(place, herd, chance)
        anyio.run(storm.rage, kills, pause_s)
        settled_in_s = storm.settled_in_s
    runs = {instance.key: instance for instance in _runs(place)}
    # The processes have stopped: what the proof reads now is all there is.
    proof = prove_files(ServiceFiles.within(folder), {key: instance.state for key, instance in runs.items()})
    growths = growth_of(herd.samples)
    wrong = [
        *wrong_ends(storm.placed, runs),
        *_dead_letters(place),
        *proof.problems,
        *(f"the memory of {growth} grew" for growth in growths if not growth.is_flat),
    ]
    blows = ", ".join(f"{count} {name}" for name, count in herd.struck.items() if count)
    took = elapsed(int((time.monotonic() - started_s) * 1000))
    _say(f"struck     {sum(herd.struck.values())} times ({blows}); all of it took {took}")
    _say(f"memory     {'  '.join(map(str, growths))}")
    compensated = {key for key, instance in runs.items() if instance.state == COMPENSATED}
    late = sum(story.is_to_complete and story.order_id in compensated for story in storm.placed)
    _say(
        f"settled    {settled_in_s:.1f} s after the last blow; {late} orders turned back for want of an answer in time"
    )
    _say_end(runs, proof, wrong, seed)
    if wrong:
        _say_log(folder)
    return 1 if wrong else 0


class Storm:
    """Orders that are placed without a pause, and blows that fall meanwhile."""

    def __init__(self, place: Place, herd: Herd, chance: Random) -> None:
        self._place = place
        self._herd = herd
        self._chance = chance
        self._is_over = False
        self.placed: list[Story] = []
        """What the broker has acknowledged."""
        self.settled_in_s = 0.0

    async def rage(self, kills: int, pause_s: float) -> None:
        """Strike `kills` times, about every `pause_s`; then wait until all is at rest or the time is over."""
        from rich.progress import Progress

        with Progress(transient=True) as progress:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tend)
                await self._until_all_are_up()
                tasks.start_soon(self._place_orders)
                await self._strike(kills, pause_s, progress)
                self._is_over = True
                await self._settle(progress)
                tasks.cancel_scope.cancel()

    async def _strike(self, kills: int, pause_s: float, progress: "Progress") -> None:
        bar = progress.add_task("struck", total=kills)
        struck = 0
        while struck < kills:
            await anyio.sleep(self._chance.uniform(0.2, 1.8) * pause_s)
            if self._herd.strike():
                struck += 1
                progress.advance(bar)

    async def _tend(self) -> None:
        measured_s = 0.0
        while True:
            self._herd.tend()
            if anyio.current_time() > measured_s + MEASURE_S:
                measured_s = anyio.current_time()
                self._herd.measure()
            await anyio.sleep(TEND_S)

    async def _until_all_are_up(self) -> None:
        while not self._herd.are_all_up:  # noqa: ASYNC110 - processes set no event
            await anyio.sleep(TEND_S)

    async def _place_orders(self) -> None:
        broker = IggyBroker.from_connection_string(
            self._place.settings.connection_string, stream=self._place.settings.stream
        )
        try:
            while not self._is_over and len(self.placed) < ORDERS_MAX:
                number = len(self.placed) + 1
                # An id of the guide's kind for all: its own message wants UUIDs.
                story = Story(
                    number=number, kind=kind_of(number), order_id=str(UUID(int=self._chance.getrandbits(128)))
                )
                await self._publish(broker, story)
                self.placed.append(story)
                await anyio.sleep(1 / ORDERS_PER_S)
        finally:
            with anyio.CancelScope(shield=True):
                await broker.close()

    async def _publish(self, broker: IggyBroker, story: Story) -> None:
        message_id = str(UUID(int=self._chance.getrandbits(128)))
        message = message_of(story, message_id=message_id, now_ns=time.time_ns(), products=PLENTIFUL)
        while True:
            try:
                await broker.publish([begun(message, self._place.settings)])
            except BrokerError:
                # Whether it arrived is not known: once more, under the same id, as every client has to.
                await anyio.sleep(TEND_S)
            else:
                return

    async def _settle(self, progress: "Progress") -> None:
        began_s = anyio.current_time()
        bar = progress.add_task("settled", total=len(self.placed))
        with closing(SqliteStore(self._place.settings.database(ORCHESTRATOR), read_only=True)) as store:
            while anyio.current_time() < began_s + SETTLE_S_MAX:
                counts = store.counts()
                at_rest = sum(counts.get(state, 0) for state in (COMPLETED, COMPENSATED, REJECTED, STUCK))
                progress.update(bar, completed=at_rest, total=len(self.placed))
                # The last order may still be on its way: the list is complete once its publication returned.
                if at_rest >= len(self.placed) and store.in_flight() == 0 and self._herd.are_all_up:
                    break
                await anyio.sleep(TEND_S)
        self.settled_in_s = anyio.current_time() - began_s


def wrong_ends(placed: Sequence[Story], runs: Mapping[str, Instance]) -> list[str]:
    """Orders that did not come to an end that their story allows."""
    wrong: list[str] = []
    for story in placed:
        run = runs.get(story.order_id)
        if run is None:
            wrong.append(f"order {story.order_id} ({story.kind}) was acknowledged and is nowhere")
            continue
        has_reprieve = any(cause in run.cause for cause in REPRIEVES)
        if run.state == COMPLETED and story.is_to_complete:
            continue
        if run.state in (COMPENSATED, REJECTED) and (not story.is_to_complete or has_reprieve):
            continue
        wrong.append(f"order {story.order_id} ({story.kind}) is {run.state}: {run.reason or run.cause}")
    return wrong


def _runs(place: Place) -> list[Instance]:
    with closing(SqliteStore(place.settings.database(ORCHESTRATOR), read_only=True)) as store:
        return store.instances(InstanceFilter(count_max=ORDERS_MAX))


def _dead_letters(place: Place) -> list[str]:
    with closing(SqliteStore(place.settings.database(ORCHESTRATOR), read_only=True)) as store:
        return [
            f"a message of {letter.topic!r} became a dead letter: {letter.reason}" for letter in store.dead_letters(9)
        ]


def _say_end(runs: Mapping[str, Instance], proof: Proof, wrong: Sequence[str], seed: int) -> None:
    states = [run.state for run in runs.values()]
    told = [f"{states.count(state)} {state}" for state in (COMPLETED, COMPENSATED, REJECTED) if states.count(state)]
    _say(f"{len(states)} orders: {', '.join(told)}, {states.count(STUCK)} stuck      {proof}")
    for problem in wrong[:_PROBLEMS_SHOWN]:
        _say(f"WRONG: {problem}")
    if len(wrong) > _PROBLEMS_SHOWN:
        _say(f"WRONG: and {len(wrong) - _PROBLEMS_SHOWN} more")
    _say(f"{'WRONG' if wrong else 'nothing lost, nothing doubled'}   (seed {seed})")


def _say_log(folder: Path) -> None:
    try:
        lines = log_path(folder, ORCHESTRATOR).read_text(errors="replace").splitlines()
    except OSError as error:
        raise ProcessError(f"the orchestrator left no log: {error}") from error
    _say("\n".join(["the end of the orchestrator's log:", *lines[-_LOG_LINES_SHOWN:]]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
