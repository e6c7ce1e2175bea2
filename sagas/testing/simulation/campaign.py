"""Many seeds in several processes: their figures together, and each failure with the line that repeats it.

A seed is run in both modes, with timers and without. Every `REPEATED_EVERY`th seed is run twice, and both
runs must have gone the same way: a simulation that is not repeatable finds failures that nobody can look at.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context

import msgspec

from sagas.testing.simulation.diagram import sequence
from sagas.testing.simulation.history import Appended, History, Violation
from sagas.testing.simulation.life import BEGINS_MS
from sagas.testing.simulation.simulation import Run, simulate
from sagas.testing.simulation.subject import Subject, load_subject

REPEATED_EVERY = 50
SEEDS_PER_TASK = 5
_SHOWN_MAX = 8
_PAYLOAD_SHOWN_MAX = 400


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed on which something did not hold."""

    seed: int
    timers: bool
    faults: str
    violations: tuple[str, ...]
    diagram: str

    def report(self, *how_to_repeat: str) -> str:
        """What to read first: what did not hold, the lines that repeat it, and the picture."""
        mode = "on" if self.timers else "off"
        shown = [f"  {what}" for what in self.violations[:_SHOWN_MAX]]
        more = len(self.violations) - len(shown)
        return "\n".join(
            [
                f"seed {self.seed}, timers {mode}: {self.faults}",
                *shown,
                *([f"  … and {more} more"] if more > 0 else []),
                *(f"repeat: {line}" for line in how_to_repeat),
                "",
                self.diagram,
            ]
        )


class Tally(msgspec.Struct, kw_only=True):
    """The figures of some runs."""

    seeds: int = 0
    runs: int = 0
    crashes: int = 0
    port_calls: int = 0
    messages: int = 0
    simulated_ms: int = 0
    states: dict[str, int] = {}
    failures: list[Failure] = []

    def add(self, other: "Tally") -> None:
        """Take another tally in."""
        self.seeds += other.seeds
        self.runs += other.runs
        self.crashes += other.crashes
        self.port_calls += other.port_calls
        self.messages += other.messages
        self.simulated_ms += other.simulated_ms
        for state, count in other.states.items():
            self.states[state] = self.states.get(state, 0) + count
        self.failures += other.failures

    def __str__(self) -> str:
        hours = self.simulated_ms / 3_600_000
        return (
            f"sim: {self.seeds:,} seeds, {self.crashes:,} crashes, {hours:.1f} simulated hours, "
            f"{sum(len(failure.violations) for failure in self.failures):,} violations"
        )


def run_seed(subject: Subject, seed: int, tally: Tally, modes: Sequence[bool] = (True, False)) -> None:
    """Run one seed in each mode, twice if it is its turn, and add it up."""
    tally.seeds += 1
    for timers in modes:
        run = simulate(subject, seed, timers=timers)
        if seed % REPEATED_EVERY == 0:
            again = simulate(subject, seed, timers=timers)
            if again.history.digest != run.history.digest:
                run.violations.append(Violation("repeatable", parting(run.history, again.history)))
        _add_up(subject, run, tally)


def parting(first: History, second: History) -> str:
    """Where two runs of one seed went different ways, and what to look for."""
    said = "the same seed went another way the second time"
    for one, other in zip(first.appended, second.appended, strict=False):
        if one != other:
            at_s = (one.at_ms - BEGINS_MS) / 1000
            said += f": at {at_s:.3f} s {one.source} published {_told(one)}, and then {_told(other)}"
            break
    return (
        f"{said}; a handler or a fold that reads a clock, draws by chance or keeps something in a variable does that: "
        "take the time from the message, and keep things in tables"
    )


def _told(appended: Appended) -> str:
    return f"{appended.message.payload[:_PAYLOAD_SHOWN_MAX].decode(errors='replace')} to {appended.message.topic}"


def _add_up(subject: Subject, run: Run, tally: Tally) -> None:
    tally.runs += 1
    tally.crashes += run.history.crashes
    tally.port_calls += run.points.calls
    tally.messages += len(run.history.appended)
    tally.simulated_ms += run.simulated_ms
    for state, count in run.states.items():
        tally.states[state] = tally.states.get(state, 0) + count
    if run.violations:
        tally.failures.append(failure_of(subject, run))


def failure_of(subject: Subject, run: Run) -> Failure:
    """A run that failed, as it is reported."""
    key = next((violation.key for violation in run.violations if violation.key), "")
    return Failure(
        seed=run.seed,
        timers=run.timers,
        faults=str(run.faults),
        violations=tuple(map(str, run.violations)),
        diagram=sequence(run.history, key, subject.definitions[0].key),
    )


def _task(path: str, first: int, count: int) -> Tally:
    logging.disable(logging.CRITICAL)
    subject, tally = load_subject(path), Tally()
    for seed in range(first, first + count):
        run_seed(subject, seed, tally)
    return tally


def run_seeds(path: str, first: int, count: int, *, jobs: int) -> Iterator[Tally]:
    """Run `count` seeds from `first` on in `jobs` processes; a tally of each part as it is done."""
    parts = [(at, min(SEEDS_PER_TASK, first + count - at)) for at in range(first, first + count, SEEDS_PER_TASK)]
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(_task, path, at, size) for at, size in parts}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
