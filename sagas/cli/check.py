"""`sagas check`: explore every run of a saga, and draw the shortest one that goes wrong.

Ends with 0 when no law can be broken, 1 when one can, 2 when there is nothing to check or it cannot be checked.
"""

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import msgspec
from rich_click import RichCommand

from sagas.check import WORLDS_MAX, Assumptions, Counterexample, Enough, Report, check
from sagas.check.assumptions import Operators, Participants, TimeoutMeans
from sagas.check.report import UNDO_KINDS
from sagas.check.search import Progress
from sagas.cli.definitions import attribute_of, sagas_in
from sagas.cli.main import INTERRUPTED
from sagas.cli.output import fail, plain, say, say_json
from sagas.clock import SystemClock
from sagas.core.saga import Saga
from sagas.errors import SagaError
from sagas.ports import Clock

TELL_FIRST_MS = 2_000
TELL_EVERY_MS = 10_000
"""When, and how often, a long exploration says how far it is, where stderr is no terminal."""


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
        found: list[tuple[Report, int]] = []
        with _stopped_by_ctrl_c() as is_stopped:
            for module, saga in wanted:
                if not is_stopped():
                    found.append(_check(module, saga, assumptions, asked, is_stopped))
    except SagaError as error:
        click.echo(f"sagas: {plain(str(error))}", err=True)
        raise SystemExit(2) from None
    if as_json:
        say_json([msgspec.to_builtins(report) | {"duration_ms": duration_ms} for report, duration_ms in found])
    else:
        for report, duration_ms in found:
            _print(report, duration_ms)
    broken = [(report.saga, report.counterexample) for report, _ in found if report.counterexample is not None]
    for number, (saga_name, told) in enumerate(broken):
        for path, text in ((mermaid, told.sequence), (scenario, told.scenario)):
            if path is not None:  # of the sagas behind the first each has a file beside it
                _write(path.with_stem(f"{path.stem}_{saga_name}") if number else path, text)
    if is_stopped():
        raise SystemExit(INTERRUPTED)
    if broken:
        raise SystemExit(1)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: {error.strerror}; it was not written")


@contextmanager
def _stopped_by_ctrl_c() -> Generator[Callable[[], bool]]:
    """Whether the first Ctrl-C came: what was found by then is told. The second ends the command at once."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


def _check(
    module: ModuleType,
    saga: Saga[Any],
    assumptions: Assumptions,
    asked: dict[str, Any],
    is_stopped: Callable[[], bool],
) -> tuple[Report, int]:
    clock = SystemClock()
    began_ms = clock.now_ms()

    def progress(known: int, depth: int) -> None:
        if is_stopped():
            raise Enough
        tell(known, depth)

    with _bar(saga.name, clock) as tell:
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
def _bar(name: str, clock: Clock) -> Generator[Progress]:
    """A line on stderr that says how far it is: a moving one where somebody looks, else one now and then."""
    if not sys.stderr.isatty():
        due_ms = clock.now_ms() + TELL_FIRST_MS

        def tell(known: int, depth: int) -> None:
            nonlocal due_ms
            if clock.now_ms() >= due_ms:
                due_ms = clock.now_ms() + TELL_EVERY_MS
                click.echo(f"checking {name}: {known:,} states, {depth} messages deep", err=True)

        yield tell
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
    verdict = ("OK" if report.is_whole else "OK as far as it was explored") if report.is_ok else "BROKEN"
    say(f"saga {report.saga} version {report.version}: {verdict}")
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
        return f"explored to depth {report.depth}: there are more (--states, --depth)"
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
