"""`sagas check`: explore every run of a saga, and draw the shortest one that goes wrong.

Ends with 0 when no law can be broken, 1 when one can, 2 when there is nothing to check or it cannot be checked.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import msgspec
from rich_click import RichCommand

from sagas.check import WORLDS_MAX, Assumptions, Counterexample, Report, check
from sagas.check.assumptions import Operators, Participants, TimeoutMeans
from sagas.check.report import UNDO_KINDS
from sagas.check.search import Progress
from sagas.cli.definitions import attribute_of, sagas_in
from sagas.cli.output import fail, plain, say, say_json
from sagas.clock import SystemClock
from sagas.core.saga import Saga
from sagas.errors import SagaError


@click.command(cls=RichCommand)
@click.argument("modules", metavar="MODULE[:SAGA]...", nargs=-1, required=True)
@click.option("--participants", type=click.Choice(get_args(Participants)), default="honest", show_default=True)
@click.option("--no-barrier", is_flag=True, help="Participants carry out every delivery.")
@click.option("--timeout-means", type=click.Choice(get_args(TimeoutMeans)), default="unknown", show_default=True)
@click.option("--operators", type=click.Choice(get_args(Operators)), default="honest", show_default=True)
@click.option("--publish-first", is_flag=True, help="Commands go out before the state that sent them is committed.")
@click.option("--timers-before-replies", is_flag=True, help="Timers fire while answers wait to be read.")
@click.option("--faults", default=2, show_default=True, type=click.IntRange(1, 9), help="Faults that use up retries.")
@click.option("--depth", default=0, type=click.IntRange(0), help="Messages after which to stop; 0: none.")
@click.option(
    "--states", default=WORLDS_MAX, show_default=True, type=click.IntRange(1), help="States after which to stop."
)
@click.option("--full", is_flag=True, help="Take every delivery by itself, without the reduction.")
@click.option("--mermaid", type=click.Path(path_type=Path), help="Write the counterexample's drawing to this file.")
@click.option("--scenario", type=click.Path(path_type=Path), help="Write the counterexample as a test to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(modules: tuple[str, ...], as_json: bool, mermaid: Path | None, scenario: Path | None, **asked: Any) -> None:
    """Explore every run: messages repeated, reordered, late and lost, refusals, faults, timers, people."""
    assumptions = Assumptions(
        participants=asked["participants"],
        has_barrier=not asked["no_barrier"],
        timeout_means=asked["timeout_means"],
        operators=asked["operators"],
        commits_first=not asked["publish_first"],
        reads_before_timers=not asked["timers_before_replies"],
        faults_max=asked["faults"],
    )
    for path in (mermaid, scenario):
        # Asked before the exploration, which may take long.
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.parent}")
    try:
        wanted = [(module, saga) for module, sagas in map(sagas_in, modules) for saga in sagas]
        found = [_check(module, saga, assumptions, asked) for module, saga in wanted]
    except SagaError as error:
        click.echo(f"sagas: {plain(str(error))}", err=True)
        raise SystemExit(2) from None
    if as_json:
        say_json([msgspec.to_builtins(report) | {"duration_ms": duration_ms} for report, duration_ms in found])
    else:
        for report, duration_ms in found:
            _print(report, duration_ms)
    broken = [report.counterexample for report, _ in found if report.counterexample is not None]
    for path, text in ((mermaid, [b.sequence for b in broken]), (scenario, [b.scenario for b in broken])):
        if path is not None and text:
            _write(path, text[0])
    if broken:
        raise SystemExit(1)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: {error.strerror}; it was not written")


def _check(module: ModuleType, saga: Saga[Any], assumptions: Assumptions, asked: dict[str, Any]) -> tuple[Report, int]:
    clock = SystemClock()
    began_ms = clock.now_ms()
    with _bar(saga.name) as progress:
        report = check(
            saga.definition,
            assumptions,
            examples=getattr(module, "EXAMPLES", ()),
            source=f"{module.__name__}:{attribute_of(module, saga)}",
            worlds_max=asked["states"],
            depth_max=asked["depth"],
            is_full=asked["full"],
            progress=progress,
        )
    return report, clock.now_ms() - began_ms


@contextmanager
def _bar(name: str) -> Generator[Progress]:
    """A line on stderr that says how far it is, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda known, depth: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(f"checking {name}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda known, depth: bar.update(task, description=f"{known:,} states, {depth} messages deep")


# --------------------------------------------------------------------------- what is printed


def _print(report: Report, duration_ms: int) -> None:
    found = report.counterexample
    say(f"saga {report.saga} version {report.version}: {'OK' if report.is_ok else 'BROKEN'}")
    for words in report.assumptions:
        say(f"  assuming    {words}")
    say(f"  explored    {report.states:,} states, {report.transitions:,} transitions, {report.nodes:,} of the instance")
    say(f"  reach       {_reach(report)}; {report.faults_max} faults use up bounded retries")
    say(f"  time        {duration_ms / 1000:.2f} s, {report.decisions:,} decisions")
    if found is not None:
        _print_broken(found)
        return
    taken, edges = report.undo_coverage
    say(f"  undo edges  {taken} of {edges} taken{f', {100 * taken // edges} %' if edges else ''}")
    others = [c for c in report.coverage if c.kind not in UNDO_KINDS]
    say(f"  other edges {', '.join(f'{c.kind} {c.taken} of {c.edges}' for c in others)}")
    for missing in (m for c in report.coverage for m in c.missing):
        say(f"  not taken   {missing}")
    say()


def _reach(report: Report) -> str:
    if report.counterexample is not None:
        return f"up to the first that goes wrong, {report.depth} messages deep"
    if not report.is_whole:
        return f"explored to depth {report.depth}: there are more"
    items = "" if report.items_max is None else f", explored to {report.items_max} items of each list"
    return f"every state there is, to a depth of {report.depth} messages{items}"


def _print_broken(found: Counterexample) -> None:
    say(f"  law         {found.promise}")
    say(f"  broken      {plain(found.how)}")
    if not found.is_retold:
        say("  beware      the real kernel did not go this way with real times: it may not be possible")
    say()
    for number, words in enumerate(found.words):
        say(f"  {number:2}  {plain(words)}")
    say()
    say(found.sequence.rstrip("\n"))
    say()
