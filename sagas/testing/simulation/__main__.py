"""`python -m sagas.testing.simulation`: many seeds, one seed, or the crash sweep."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sagas.errors import SagaError
from sagas.testing.simulation.campaign import Tally, run_seed, run_seeds
from sagas.testing.simulation.subject import Subject, load_subject
from sagas.testing.simulation.sweep import Sweep, sweep

FAILURES_SHOWN_MAX = 3


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many seeds to run.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", "only", type=int, help="Run this one, and say everything about it.")
@click.option(
    "--saga",
    "paths",
    required=True,
    multiple=True,
    help="The subject, as module:name. Several are gone through in turn.",
)
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--sweep", "is_sweep", is_flag=True, help="Crash at every port call of every story instead.")
def main(seeds: int, first: int, only: int | None, paths: Sequence[str], jobs: int, is_sweep: bool) -> None:
    """Run sagas under every fault, in virtual time."""
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # faults are what this is about: each would be logged
    console = Console(highlight=False)
    try:
        subjects = {path: load_subject(path) for path in paths}
        if is_sweep:
            ok = _sweep(console, subjects, jobs)
        elif only is not None:
            ok = not sum(not _one(console, subject, only, path) for path, subject in subjects.items())
        else:
            ok = not sum(not _many(console, path, first, seeds, jobs) for path in paths)
    except SagaError as error:
        raise click.ClickException(str(error)) from error
    finally:
        logging.disable(was_disabled)
    sys.exit(0 if ok else 1)


def _many(console: Console, path: str, first: int, seeds: int, jobs: int) -> bool:
    began = time.monotonic()
    tally = Tally()
    columns = (TextColumn("sim"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("seeds", total=seeds, failed=0)
        for part in run_seeds(path, first, seeds, jobs=jobs):
            tally.add(part)
            progress.update(bar, advance=part.seeds, failed=len(tally.failures))
    _report(console, tally, path)
    console.print(
        f"     timers on and off, {tally.runs:,} runs, {sum(tally.states.values()):,} sagas, {tally.port_calls:,} port "
        f"calls, {tally.messages:,} messages, {time.monotonic() - began:.1f} s"
    )
    return not tally.failures


def _one(console: Console, subject: Subject, seed: int, path: str) -> bool:
    tally = Tally()
    run_seed(subject, seed, tally)
    _report(console, tally, path)
    return not tally.failures


def _report(console: Console, tally: Tally, path: str) -> None:
    for failure in sorted(tally.failures, key=lambda f: f.seed)[:FAILURES_SHOWN_MAX]:
        repeat = f"python -m sagas.testing.simulation --seed {failure.seed} --saga {path}"
        console.print(failure.report(f"make sim SEEDS=1 SEED={failure.seed}", repeat), markup=False, soft_wrap=True)
        console.print()
    if len(tally.failures) > FAILURES_SHOWN_MAX:
        others = ", ".join(str(f.seed) for f in tally.failures[FAILURES_SHOWN_MAX:])
        console.print(f"more seeds that failed: {others}", soft_wrap=True)
    console.print(str(tally))


def _sweep(console: Console, subjects: Mapping[str, Subject], jobs: int) -> bool:
    result = Sweep()
    for path in subjects:
        for story in sweep(path, jobs=jobs):
            result.add(story)
            console.print(str(story))
    table = Table("crash point", "visited", "crashed", title="named points")
    for row in result.rows():
        table.add_row(row.point, f"{row.visited:,}", f"{row.crashed:,}")
    console.print(table)
    # What one subject has no use for, another one may: only what none of them has is excused.
    excused = {p for subject in subjects.values() for p in subject.not_reached}
    excused = {p for p in excused if all(p in subject.not_reached for subject in subjects.values())}
    for problem in (*result.problems, *result.gaps(excused)):
        console.print(problem, markup=False, soft_wrap=True)
    console.print(result.summary(excused))
    return not result.problems and not result.gaps(excused)


if __name__ == "__main__":
    main()
