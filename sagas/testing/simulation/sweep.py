"""The exhaustive crash sweep: for each story, crash at port call k, for every k, restart, and check.

Theory of operation. A story is run once without faults, and its port calls are counted: n. Then it is run n
times more with the same seed, and in the k-th of these the process that makes call k is killed there. So
no instant of a story is left to chance. Besides the subject's own stories there are some that any subject has:
messages that cannot be read, a database that fails once, processes that are told to stop.

The named points (`points.py`) that were visited and crashed at are counted over all stories. One that
was never reached is a gap, and fails the sweep, unless the subject says that it has no use for it.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import NamedTuple

import msgspec

from sagas.core.messages import Event
from sagas.testing.simulation.faults import Faults
from sagas.testing.simulation.points import POINTS, Role
from sagas.testing.simulation.simulation import Run, Simulation, result_of
from sagas.testing.simulation.subject import Subject, load_subject

SEED = 1
STILL = Faults(fault_ms=50, restart_ms=30, partitions=1, part_max=1)
"""No faults but the one crash; the start comes within this time, and a crash between two messages of a batch, too."""
_LONGER = msgspec.structs.replace(STILL, fault_ms=300)
_LONG_ENOUGH_FOR_EACH = msgspec.structs.replace(STILL, fault_ms=8_000)

WORKLOAD = f"the workload of seed {SEED}"
"""The one story of a subject that brings none."""

COMMON = {
    "everybody is told to stop": msgspec.structs.replace(STILL, fault_ms=800, kill_every_ms=40, stop_rate=1.0),
    "messages that cannot be read": msgspec.structs.replace(_LONGER, poison=2),
    "the databases fail at times": msgspec.structs.replace(_LONG_ENOUGH_FOR_EACH, store_fails=0.4),
}
"""Stories that any subject has: its first one, with one kind of fault besides."""


@dataclass(kw_only=True)
class SweptStory:
    """A story after its sweep."""

    name: str
    calls: int = 0
    ends: dict[str, int] = field(default_factory=dict[str, int])
    visited: dict[str, int] = field(default_factory=dict[str, int])
    crashed: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[str] = field(default_factory=list[str])

    def take(self, run: Run, what: str) -> None:
        """Add a run."""
        for role in POINTS:
            _count(self.visited, role, run.points.visited[role])
            _count(self.crashed, role, run.points.crashed[role])
        for state, count in run.states.items():
            self.ends[state] = self.ends.get(state, 0) + count
        self.problems += (f"{self.name}, {what}: {violation}" for violation in run.violations)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.ends.items()))
        return f"{self.name}: crashed at each of {self.calls} port calls: {ends}; {len(self.problems)} violations"


def _count(into: dict[str, int], role: Role, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        point = f"{role} {name}"
        into[point] = into.get(point, 0) + count


class Row(NamedTuple):
    """A line of the table."""

    point: str
    visited: int
    crashed: int


class Sweep:
    """All stories together."""

    def __init__(self) -> None:
        self.stories: list[SweptStory] = []

    def add(self, story: SweptStory) -> None:
        """Add a story."""
        self.stories.append(story)

    @property
    def problems(self) -> list[str]:
        """What did not hold."""
        return [problem for story in self.stories for problem in story.problems]

    def rows(self) -> list[Row]:
        """Each named point, how often it was visited and crashed at."""
        names = [f"{role} {name}" for role in POINTS for name in sorted(POINTS[role])]
        return [
            Row(
                name,
                sum(s.visited.get(name, 0) for s in self.stories),
                sum(s.crashed.get(name, 0) for s in self.stories),
            )
            for name in names
        ]

    def gaps(self, excused: Collection[str]) -> list[str]:
        """The points that were never visited, or never crashed at, but for those that are excused."""
        return [
            f"{row.point} was {'never reached' if not row.visited else 'reached and never crashed at'}"
            for row in self.rows()
            if not row.crashed and row.point not in excused
        ]

    def summary(self, excused: Collection[str]) -> str:
        """One line."""
        rows = self.rows()
        covered, calls = sum(row.crashed > 0 for row in rows), sum(story.calls for story in self.stories)
        unneeded = sum(not row.crashed and row.point in excused for row in rows)
        unused = f" ({unneeded} without use here)" if unneeded else ""
        return (
            f"sweep: {len(self.stories)} stories, {calls:,} crashes, {covered} of {len(rows)} points visited and "
            f"crashed{unused}, {len(self.problems)} violations"
        )


def sweep(path: str, *, jobs: int) -> Iterator[SweptStory]:
    """Sweep each story of the subject at `path`, in `jobs` processes."""
    names = (*_stories(load_subject(path)), *COMMON)
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_task, [path] * len(names), names)


def _stories(subject: Subject) -> Mapping[str, Sequence[Event]]:
    """Its stories; of one that has none, what its workload makes of SEED."""
    return subject.stories or {WORKLOAD: subject.workload(SEED)}


def _task(path: str, name: str) -> SweptStory:
    logging.disable(logging.CRITICAL)
    return sweep_story(load_subject(path), name)


def sweep_story(subject: Subject, name: str, *, stride: int = 1) -> SweptStory:
    """Sweep one story."""
    stories = _stories(subject)
    events = stories.get(name) or next(iter(stories.values()))
    story = SweptStory(name=name)
    calm = _run(subject, name, events, 0)
    story.take(calm, "without a crash")
    story.calls = calm.points.calls
    for call in range(1, story.calls + 1, stride):
        story.take(_run(subject, name, events, call), f"crash at port call {call}")
    return story


def _run(subject: Subject, name: str, events: Sequence[Event], crash_at: int) -> Run:
    simulation = Simulation(subject, SEED, timers=True, faults=COMMON.get(name, STILL), starts=events)
    if crash_at:
        simulation.scene.points.crash_at(crash_at)
    try:
        simulation.run()
        return result_of(simulation)
    finally:
        simulation.close()
