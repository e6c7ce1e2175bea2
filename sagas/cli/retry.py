"""`sagas retry`: another try for one instance (`operate.py` says how), or for all that are stuck, at a pace."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import load, modules_wanted
from sagas.cli.instances import ORCHESTRATOR, reading
from sagas.cli.operate import act, operator_options, reason_option
from sagas.cli.output import plain, say, say_json
from sagas.cli.settings import settings_here
from sagas.cli.who import whoami
from sagas.core.definition import Definition
from sagas.core.effects import Decision, Operate, deadline_passed_ms
from sagas.core.instance import Instance
from sagas.errors import StoreError

PER_SECOND = 10
_PROBLEMS_SHOWN_MAX = 10


class BulkShape(msgspec.Struct, frozen=True, kw_only=True):
    """What `sagas retry --all` did, or would do: its JSON, described in docs/cli.md.

    `problems` are those that could not be retried, or cannot be as things are. `overdue` counts those whose deadline
    passed: once retried they are turned back at once.
    """

    count: int
    over: dict[str, int]
    retried: int
    problems: list[str]
    is_done: bool
    overdue: int = 0


@click.command(cls=RichCommand)
@click.option("--all", "is_all", is_flag=True, help="Every instance that is stuck, instead of one.")
@click.option("--step", default="", metavar="STEP", help="With --all: only those stuck over this step.")
@click.option(
    "--per-second",
    default=PER_SECOND,
    type=click.IntRange(1, 1_000),
    metavar="N",
    help=f"With --all: so many a second, {PER_SECOND} by default.",
)
@reason_option("Why; kept in the audit.", is_required=False)
@operator_options(is_one=False)
def command(
    wanted: str | None,
    saga: str,
    modules: tuple[str, ...],
    db: Path | None,
    yes: bool,
    as_json: bool,
    reason: str,
    is_all: bool,
    step: str,
    per_second: int,
) -> None:
    """Send the command, or the undo, that an instance is stuck over again.

    ID is the instance's business key or its own id; with --all it is every stuck instance, of --saga and over --step
    where given. Without --yes it only says what it would do.
    """
    if is_all == (wanted is not None):
        raise click.UsageError("say which instance, or --all")
    if step and not is_all:
        raise click.UsageError("--step goes with --all: one instance is stuck over one step")
    if wanted is not None:
        act("retry", wanted=wanted, saga=saga, modules=modules, db=db, reason=reason, yes=yes, as_json=as_json)
        return
    definitions = load(modules_wanted(modules, os.environ, Path.cwd()))
    found = _found(db, saga, step)
    outcomes = list[Decision | str]() if yes else _planned(definitions, found, db)
    stopped_by: KeyboardInterrupt | StoreError | None = None
    if yes and found:
        try:
            _retry(definitions, found, db, reason, per_second, outcomes, is_shown=not as_json)
        except (KeyboardInterrupt, StoreError) as error:
            stopped_by = error  # what was done until then is said first
    problems = [f"{o.saga} {o.key}: {said}" for o, said in zip(found, outcomes, strict=False) if isinstance(said, str)]
    shape = BulkShape(
        count=len(found),
        over=_counted(found),
        retried=len(outcomes) - len(problems) if yes else 0,
        problems=problems,
        is_done=yes,
        overdue=_overdue(outcomes),
    )
    if as_json:
        say_json(shape)
    else:
        _tell(shape, per_second, others=_counted(_found(db, "", "")) if not found else {})
    if stopped_by is not None:
        raise stopped_by
    if problems:
        raise SystemExit(1)


def _found(db: Path | None, saga: str, step: str) -> list[Instance]:
    from sagas.runtime.bulk import stuck_instances

    with reading(db) as store:
        return list(stuck_instances(store, saga=saga, step=step))


def _counted(stuck: Sequence[Instance]) -> dict[str, int]:
    return dict(Counter(f"{instance.saga} {instance.stuck_step or '(damaged)'}" for instance in stuck))


def _planned(definitions: Sequence[Definition], found: Sequence[Instance], db: Path | None) -> list[Decision | str]:
    """What would come of each: it is decided as it would be done."""
    from sagas.clock import SystemClock
    from sagas.runtime.catalog import Catalog
    from sagas.runtime.planning import plan

    now_ms = SystemClock().now_ms()
    with reading(db) as book:
        catalog = Catalog(definitions, book)
        return [
            plan(catalog, one, Operate(action="retry", who="", reason="", revision=one.revision), now_ms)
            for one in found
        ]


def _overdue(outcomes: Sequence[Decision | str]) -> int:
    from sagas.clock import SystemClock

    now_ms = SystemClock().now_ms()
    return sum(1 for said in outcomes if not isinstance(said, str) and deadline_passed_ms(said, now_ms))


def _retry(
    definitions: Sequence[Definition],
    found: Sequence[Instance],
    db: Path | None,
    reason: str,
    per_second: int,
    outcomes: list[Decision | str],
    *,
    is_shown: bool,
) -> None:
    """Append what came of each to `outcomes`: they are known even if it is stopped between two."""
    # Imported here: only what acts pays for the runtime, the event loop and the database.
    import anyio
    from rich.console import Console
    from rich.progress import Progress

    from sagas.clock import SystemClock
    from sagas.runtime.bulk import retry_paced
    from sagas.runtime.orchestrator import Orchestrator
    from sagas.store.sqlite import SqliteStore

    store = SqliteStore(db or settings_here().database(ORCHESTRATOR))
    is_drawn = is_shown and sys.stderr.isatty()

    async def main() -> None:
        with Progress(console=Console(stderr=True), transient=True, disable=not is_drawn) as progress:
            bar = progress.add_task("retrying", total=len(found))
            pace = retry_paced(
                Orchestrator(definitions, store, store),
                iter(found),
                who=whoami(),
                reason=reason,
                clock=SystemClock(),
                per_second=per_second,
            )
            async for one in pace:
                progress.advance(bar)
                outcomes.append(one.outcome)

    try:
        anyio.run(main)
    finally:
        store.close()


def _tell(shape: BulkShape, per_second: int, others: Mapping[str, int]) -> None:
    """`others` are what is stuck besides, where none is of what was asked for."""
    if not shape.count:
        say("nothing is stuck" if not others else "nothing of that is stuck; what is:")
    for over, count in sorted(others.items()):
        say(plain(f"{count:>8}  stuck over {over}"))
    if not shape.count:
        return
    for over, count in sorted(shape.over.items()):
        say(plain(f"{count:>8}  stuck over {over}"))
    if shape.overdue:
        say(f"the deadlines of {shape.overdue} have passed: they will be turned back at once")
    for problem in shape.problems[:_PROBLEMS_SHOWN_MAX]:
        say(plain(f"{'not' if shape.is_done else 'cannot be'} retried: {problem}"))
    if len(shape.problems) > _PROBLEMS_SHOWN_MAX:
        say(f"… and {len(shape.problems) - _PROBLEMS_SHOWN_MAX} more")
    if shape.is_done:
        say(f"{shape.retried} of {shape.count} retried")
        return
    count = shape.count - len(shape.problems)
    say(f"{count} would be retried, {per_second} a second, in {-(-count // per_second)} s")
    say("nothing was done; say it again with --yes")
