"""`sagas list`: the instances, newest first."""

from pathlib import Path
from uuid import UUID

import click
from rich_click import RichCommand

from sagas.cli.instances import database_option, definitions_at_hand, names_for, reading
from sagas.cli.output import explained, moment, plain, say, say_json, table
from sagas.cli.shapes import InstanceShape, PageShape, instance_shape
from sagas.core.durations import elapsed
from sagas.core.instance import STUCK
from sagas.core.story import Names
from sagas.ports import InstanceFilter

LIMIT_MAX = 10_000
"""Of one page, in instances: it is read into memory."""


def _an_id(_: click.Context, option: click.Parameter, before: str) -> str:
    try:
        return str(UUID(before)) if before else ""
    except ValueError:
        raise click.BadParameter(f"{before!r} is no id; give the one that a page ends with", param=option) from None


@click.command(cls=RichCommand)
@click.option("--saga", default="", metavar="NAME", help="Only instances of this saga.")
@click.option("--state", default="", metavar="STATE", help="Only those in this state: completed, stuck, pay.pending …")
@click.option("--key", default="", metavar="KEY", help="Only those of this business key.")
@click.option(
    "--before",
    default="",
    metavar="ID",
    callback=_an_id,
    help="Go on behind this id, the last one of the page before.",
)
@click.option("--limit", default=20, type=click.IntRange(1, LIMIT_MAX), help="At most so many; 20 by default.")
@database_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(saga: str, state: str, key: str, before: str, limit: int, db: Path | None, as_json: bool) -> None:
    """List the instances, newest first."""
    with reading(db) as store:
        # One more than is shown: whether there is a next page is then known without counting.
        wanted = InstanceFilter(saga=saga, state=state, key=key, before_id=before, count_max=limit + 1)
        found = store.instances(wanted)
        others = store.counts() if state and not (found or key or before) else {}
    shown, definitions, names = found[:limit], definitions_at_hand(), dict[tuple[str, int], Names]()
    for instance in shown:  # those of one version are called alike
        if (instance.saga, instance.version) not in names:
            names[instance.saga, instance.version] = names_for(instance, definitions)
    shapes = [instance_shape(instance, names[instance.saga, instance.version]) for instance in shown]
    following = shapes[-1].id if len(found) > limit else None
    if as_json:
        say_json(PageShape(instances=shapes, next=following))
    else:
        _print(shapes, following)
        if others:  # a state is easily misspelt
            there = ", ".join(f"{name} ({count:,})" for name, count in others.items())
            say(plain(f"states there are: {there}"))


def _print(shapes: list[InstanceShape], following: str | None) -> None:
    if not shapes:
        say("no instances")
        return
    table(
        ("saga", "key", "state", "started", "took", "story"),
        [(s.saga, s.key, s.state, moment(s.started_ms), _took(s), _story(s)) for s in shapes],
        numbers=("took",),
    )
    if following is not None:
        say(f"more: --before {plain(following)}")


def _took(shape: InstanceShape) -> str:
    return elapsed(shape.updated_ms - shape.started_ms)


def _story(shape: InstanceShape) -> str:
    told = f"{shape.summary} · stuck: {shape.reason}" if shape.state == STUCK else shape.summary
    return f"{told} · incident: {shape.incident}" if shape.incident else told
