"""What is tried on a random saga: each trial gives back what it has broken, in words, "" for nothing."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from sagas.check import check
from sagas.core.carrying import problems
from sagas.core.crossing import message_reports
from sagas.core.diagram import mermaid, progress_of
from sagas.core.messages import Event
from sagas.core.rollout import step_reports
from sagas.core.sequence import sequence
from sagas.core.shape import shape_of
from sagas.core.story import happenings, operations, standing, summary, undo_names
from sagas.errors import DefinitionError
from sagas.runtime.retelling import against_journal, every_instance
from sagas.testing.simulation import Subject
from sagas.testing.simulation.simulation import Simulation, result_of
from tests.random_sagas.neighbours import next_version
from tests.random_sagas.outside import Broken
from tests.random_sagas.plans import Plan
from tests.random_sagas.walks import walk
from tests.random_sagas.written import load

WALKS = 25
"""Of each saga."""
WORLDS_MAX = 1_500
_TOLD_MAX = 25

Trial = Callable[[Any, Plan, int], str]


def tried(trial: Trial, plan: Plan, seed: int) -> str | None:
    """What a trial has broken, "" for nothing; None for a plan that is refused, which has to say a remedy."""
    try:
        module = load(plan)
    except DefinitionError as error:
        return None if error.remedy else f"it is refused without a remedy: {error}"
    except Exception:
        return f"it is neither taken nor refused: {traceback.format_exc(limit=-3)}"
    try:
        return trial(module, plan, seed)
    except Exception:
        return traceback.format_exc(limit=-4)


def walked(module: Any, plan: Plan, seed: int) -> str:
    """Runs at random, to their ends."""
    for number in range(WALKS):
        random = Random(f"{seed}:{number}:walk")
        run = walk(module, random)
        try:
            run.rough(random.randint(3, 60))
            run.calm()
        except Broken as broken:
            return "\n".join((str(broken), *run.told[-_TOLD_MAX:]))
    return ""


def checked(module: Any, plan: Plan, seed: int) -> str:
    """What `sagas check` finds: nothing."""
    report = check(module.saga.definition, worlds_max=WORLDS_MAX)
    found = report.counterexample
    return "" if found is None else "\n".join((f"{found.law}: {found.how}", *found.words))


def simulated(module: Any, plan: Plan, seed: int) -> str:
    """A whole system in which everything fails; then each run is told, drawn and decided again."""
    definition = module.saga.definition
    # Without timers every wait needs a signal of its own.
    timers = bool(definition.waits) or seed % 2 == 0
    simulation = Simulation(_subject(module), seed, timers=timers)
    try:
        simulation.run()
        found = [str(violation) for violation in result_of(simulation).violations]
        for run in every_instance(simulation.store):
            rows, names = simulation.store.journal(run.id), undo_names(definition)
            mismatch = against_journal({(definition.name, definition.version): definition}, simulation.store, run)
            found += [] if mismatch is None else [str(mismatch)]
            told = (summary(run, names), standing(run), sequence(definition, run, rows), happenings(rows))
            assert all(isinstance(each, str | list) for each in (*told, operations(run, names)))
            assert run.key in mermaid(definition, progress=progress_of(run, rows))
    finally:
        simulation.close()
    return "\n".join(found)


def _subject(module: Any) -> Subject:
    waits = module.saga.definition.waits.values()
    signals = sorted({signal for wait in waits for signal in wait.signals.values()}, key=lambda s: s.__name__)

    def workload(seed: int) -> Sequence[Event]:
        random = Random(f"{seed}:starts")
        return [module.Begun(k=f"k-{number}", n=random.randrange(16)) for number in range(random.randint(2, 3))]

    def said(seed: int, starts: Sequence[Event]) -> Sequence[Event]:
        random = Random(f"{seed}:signals")
        pairs = ((start, signal) for start in starts for signal in signals)
        return [s(k=getattr(b, "k", "")) for b, s in pairs if random.random() < (0.4 if s is module.No else 0.9)]

    services = dict.fromkeys(module.services(), ())
    return Subject(
        name="random", definitions=[module.saga.definition], services=services, workload=workload, signals=said
    )


def succeeded(module: Any, plan: Plan, seed: int) -> str:
    """The next version takes over those runs that are said to be able to go on, and they end as they should."""
    for version in range(2):
        try:
            following = next_version(plan, Random(f"{seed}:{version}:next"))
            after = load(following).saga.definition
        except DefinitionError:
            continue
        before = module.saga.definition
        assert all(
            report.verdict or report.change == "added" for report in step_reports(before, after, is_old_kept=False)
        )
        message_reports(before, after)
        was, now = shape_of(before), shape_of(after)
        for number in range(WALKS):
            random = Random(f"{seed}:{version}:{number}:walk")
            run = walk(module, random)
            try:
                run.rough(random.randint(0, 25))
                if run.run.is_ended or problems(was, now, after.renames, run.run):
                    continue
                run.carry_over(after)
                run.rough(random.choice((0, 0, 10, 40)))
                run.calm()
            except Broken as broken:
                return "\n".join((str(broken), f"under {following}", *run.told[-_TOLD_MAX:]))
    return ""


TRIALS: Mapping[str, Trial] = {
    "walked": walked,
    "checked": checked,
    "simulated": simulated,
    "succeeded": succeeded,
}
