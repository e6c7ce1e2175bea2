"""The exhaustive check of a saga: every order of messages, every answer, every timer, against what was promised.

report = check(order_saga.definition)
assert report.is_ok, report.counterexample
"""

from collections.abc import Iterable

from sagas.check.assumptions import Assumptions
from sagas.check.counterexample import Counterexample, counterexample
from sagas.check.laws import LAWS, Broken
from sagas.check.moves import NODE_MASK
from sagas.check.oracle import ITEMS_MAX
from sagas.check.orchestrator import Orchestrator
from sagas.check.report import Coverage, Report, coverage
from sagas.check.retelling import Retelling
from sagas.check.samples import NoSample, Samples
from sagas.check.search import Enough, Progress, Search
from sagas.check.worlds import Worlds
from sagas.core.definition import Definition
from sagas.core.machine import table_of
from sagas.core.messages import Message

__all__ = ["LAWS", "Assumptions", "Counterexample", "Coverage", "Enough", "NoSample", "Report", "check"]

WORLDS_MAX = 500_000
"""Where a search stops unless it is told otherwise: some minutes, and half a gigabyte."""


def check(
    definition: Definition,
    assumptions: Assumptions | None = None,
    *,
    examples: Iterable[Message] = (),
    source: str = "",
    worlds_max: int = WORLDS_MAX,
    depth_max: int = 0,
    is_full: bool = False,
    progress: Progress = lambda known, depth: None,
) -> Report:
    """Explore every run of `definition`, and report.

    `examples` are messages to check with, where what is in them matters. `source` is where the saga is found,
    as `module:name`: the scenario test imports it from there. `depth_max` and `worlds_max` bound the search, 0 not
    at all; `progress` may raise Enough, which ends it as well. `is_full` takes every delivery by itself, for
    comparison. Raises NoSample when no message of some type can be made.
    """
    assumed = assumptions or Assumptions()
    orchestrator = Orchestrator(definition, Samples(definition.key, examples), assumed)
    search = Search(
        Worlds(orchestrator, is_full=is_full), worlds_max=worlds_max, depth_max=depth_max, progress=progress
    )
    found = search.run()
    broken = found.broken or _difference(definition)
    told = None
    if broken is not None:
        retelling = Retelling(definition, orchestrator)
        course = retelling.run(found.path)
        told = counterexample(
            definition,
            broken,
            course,
            source or "saga:saga",
            {"lists": retelling.lists, "choices": retelling.choices},
            is_retold=retelling.is_true,
        )
    return Report(
        saga=definition.name,
        version=definition.version,
        assumptions=assumed.words,
        is_ok=broken is None,
        states=len(found.worlds),
        transitions=found.transitions,
        nodes=len({world & NODE_MASK for world in found.worlds}),
        decisions=orchestrator.decided,
        depth=found.depth,
        is_whole=found.is_whole,
        is_full=is_full,
        faults_max=assumed.faults_max,
        items_max=ITEMS_MAX if any(step.each is not None for step in definition.steps.values()) else None,
        coverage=coverage(definition, orchestrator.taken),
        counterexample=told,
    )


def _difference(definition: Definition) -> Broken | None:
    """What the drawing, the machine and the table that runs do not have in common."""
    drawn = {(edge.source, edge.trigger, edge.dest) for edge in definition.edges}
    machine = {(*move, dest) for move, dest in table_of(definition.machine).items()}
    runs = {(*move, dest) for move, dest in definition.table.items()}
    for other, named in ((machine, "the machine"), (runs, "the table that runs")):
        for source, trigger, dest in sorted(drawn ^ other):
            has = "the drawing" if (source, trigger, dest) in drawn else named
            return Broken("drawn", f"only {has} has {trigger} from {source} to {dest}")
    return None
