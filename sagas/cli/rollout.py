"""`sagas rollout`: what a new version of a saga does to the runs of the old one, before it is deployed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec
from rich_click import RichCommand

from sagas.cli.definitions import load
from sagas.cli.instances import reading
from sagas.cli.output import explained, plain, say, say_json, table
from sagas.core.carrying import asked_for
from sagas.core.code import changed_code
from sagas.core.crossing import MessageReport, message_reports, start_reports
from sagas.core.definition import Definition
from sagas.core.instance import Instance, Operation
from sagas.core.renaming import renamed_leaves
from sagas.core.rollout import StepReport, Verdict, renamed_code, step_reports
from sagas.core.shape import encode_shape, shape_of
from sagas.records import DefinitionRow
from sagas.runtime.admission import live_instances, stranding
from sagas.runtime.catalog import Catalog

SHOWN_MAX = 40
"""Live instances in the table, those in trouble first; `--json` has all."""

_ORDER: Sequence[Verdict] = (
    "stranded",
    "finishes on the old version",
    "continues under a mapping",
    "continues under the new code",
    "continues unchanged",
)


_KEEPS_TO_IT = "if it says something else now, its participant keeps to what it was asked first, and the run waits"
_ASKED_AGAIN: Mapping[Operation, str] = {
    "do": f"step '{{}}' is asked for until it answers, and its command has other code: {_KEEPS_TO_IT}",
    "undo": f"step '{{}}' is being undone, and its undo has other code: {_KEEPS_TO_IT}",
}


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """A live instance, what becomes of it and why."""

    saga: str
    key: str
    id: str
    version: int
    state: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


class SagaReport(msgspec.Struct, frozen=True, kw_only=True):
    """One saga between two releases.

    `old_version` is 0 when only the database and the new release have it, `new_version` when none is deployed any
    more; `instances` is null when no database was named.
    """

    saga: str
    old_version: int
    new_version: int
    is_old_kept: bool
    verdict: Verdict
    steps: list[StepReport]
    messages: list[MessageReport]
    instances: list[InstanceReport] | None


class _Book:
    """What the versions were: those of the old module, and those that the database tells of."""

    def __init__(self, old: Sequence[Definition], kept: Sequence[DefinitionRow]) -> None:
        rows = [
            DefinitionRow(saga=d.name, version=d.version, content=d.content, shape=encode_shape(shape_of(d)))
            for d in old
        ]
        self._rows = [*rows, *kept]

    def definitions(self) -> list[DefinitionRow]:
        """All of them."""
        return self._rows

    def definition_count(self) -> int:
        """How many there are."""
        return len(self._rows)

    def keep_definitions(self, rows: Sequence[DefinitionRow]) -> None:
        """Nothing: a verdict changes nothing."""


@click.command(cls=RichCommand)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--db",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The orchestrator's database, for the live instances in it; without it none are looked at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")
@explained
def command(old: str, new: str, db: Path | None, as_json: bool) -> None:
    """Say what becomes of live instances when NEW is deployed in place of OLD.

    Each is a module, MODULE:SAGA or a file. NEW is all that will be loaded: if it has the old version besides,
    instances finish on that. With --db each live instance gets a verdict. Ends with 1 if any instance, or without --db
    any step, is stranded, or a start that is in its topic already cannot be read.
    """
    before, after = load([old]), load([new])
    instances = None if db is None else _live(db, before, after)
    sagas = dict.fromkeys((*(d.name for d in before), *(each.saga for each in instances or ())))
    reports = [report(saga, before, after, instances) for saga in sagas]
    if as_json:
        say_json(reports)
    else:
        for each in reports:
            _tell(each)
    if any(each.verdict == "stranded" for each in reports):
        raise SystemExit(1)


def report(
    saga: str, before: Sequence[Definition], after: Sequence[Definition], instances: list[InstanceReport] | None
) -> SagaReport:
    """The report on one saga; of one that the old release has not, on its live instances only."""
    old = max((d for d in before if d.name == saga), key=lambda d: d.version, default=None)
    candidates = [d for d in after if d.name == saga]
    new = max(candidates, key=lambda d: d.version, default=None)
    is_old_kept = old is not None and any(
        d is not new and (d.version, d.content) == (old.version, old.content) for d in candidates
    )
    steps = step_reports(old, new, is_old_kept=is_old_kept) if old is not None else []
    starts = start_reports(old, candidates) if old is not None else []
    mine = None if instances is None else [each for each in instances if each.saga == saga]
    found = {each.verdict for each in (steps if mine is None else mine)}
    if any(each.reading == "not at all" for each in starts):
        found.add("stranded")  # a run that was asked for and would never begin
    worst = min((_ORDER.index(verdict) for verdict in found if verdict), default=len(_ORDER) - 1)
    return SagaReport(
        saga=saga,
        old_version=old.version if old is not None else 0,
        new_version=new.version if new is not None else 0,
        is_old_kept=is_old_kept,
        verdict=_ORDER[worst],
        steps=steps,
        messages=[*starts, *(message_reports(old, new) if old is not None and new is not None else [])],
        instances=mine,
    )


def _live(db: Path, before: Sequence[Definition], after: Sequence[Definition]) -> list[InstanceReport]:
    """The live instances that this deployment is about. A damaged row is for `sagas verify`."""
    with reading(db) as store:
        catalog = Catalog(after, _Book(before, store.definitions()))
        known = {definition.name for definition in (*before, *after)}
        found: list[InstanceReport] = []
        others = 0
        for run in live_instances(store):
            if run.is_damaged:
                continue
            if run.saga in known:
                found.append(_instance(catalog, run))
            else:
                others += 1
    if others:
        click.echo(f"{others} live instances of sagas that neither release has: not looked at", err=True)
    return sorted(found, key=lambda each: _ORDER.index(each.verdict))


def _instance(catalog: Catalog, run: Instance) -> InstanceReport:
    verdict, reasons, remedies = judged(catalog, run)
    return InstanceReport(
        saga=run.saga,
        key=run.key,
        id=run.id,
        version=run.version,
        state=run.state,
        verdict=verdict,
        reasons=reasons,
        remedies=remedies,
    )


def judged(catalog: Catalog, run: Instance) -> tuple[Verdict, tuple[str, ...], tuple[str, ...]]:
    """What becomes of a live run when the definitions of `catalog` are deployed, why, and what to write."""
    newest = catalog.newest(run.saga)
    if newest is None:
        return "stranded", (f"saga {run.saga!r} is not deployed any more",), ()
    own = catalog.exact(run)
    if own is not None:
        if own is not newest:
            return "finishes on the old version", (), ()
        return _continued(catalog, run, own)
    problems = stranding(catalog, newest, run)
    if problems:
        remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
        return "stranded", tuple(problem.text for problem in problems), tuple(remedies)
    names = renamed_leaves(run, newest.renames)
    if names:
        said = [f"{name} is {newest.renames[name]}" for name in names]
        return "continues under a mapping", (*said, *_other_code(catalog, run, newest)), ()
    return _continued(catalog, run, newest)


def _continued(
    catalog: Catalog, run: Instance, definition: Definition
) -> tuple[Verdict, tuple[str, ...], tuple[str, ...]]:
    """The verdict on a run that goes on as it is: unchanged, or by functions that do something else now."""
    reasons = _other_code(catalog, run, definition)
    return ("continues under the new code" if reasons else "continues unchanged"), reasons, ()


def _other_code(catalog: Catalog, run: Instance, definition: Definition) -> tuple[str, ...]:
    """Which functions do something else now, and which of them say again what its participant was asked before."""
    before, after = catalog.shape_before(run), catalog.shape(definition)
    changed = changed_code(renamed_code(before, definition), after.code) if before is not None else []
    asked = [
        _ASKED_AGAIN[operation].format(step.name)
        for _, step, operation in asked_for(after, definition.renames, run)
        if f"{step.name}.{'undo' if operation == 'undo' else 'command'}" in changed
    ]
    return (f"other code: {', '.join(changed)}", *asked) if changed else ()


# --------------------------------------------------------------------------- told


def _tell(each: SagaReport) -> None:
    new = f"version {each.new_version}" if each.new_version else "nothing"
    kept = f", version {each.old_version} kept beside it" if each.is_old_kept else ""
    old = f"version {each.old_version}" if each.old_version else "not in the old release"
    say(plain(f"{each.saga}   {old} → {new}{kept}   {each.verdict}"))
    if each.steps:
        table(
            ("step", "change", "a run that stands there", "why"),
            [(s.step, s.change, s.verdict or "comes to it later", _why(s.reasons, s.remedies)) for s in each.steps],
        )
    changed = [message for message in each.messages if message.reading != "as it is"]
    if changed:
        say()
        table(
            ("message", "written by", "read by", "is read", "why"),
            [(m.tag, m.written_by, m.read_by, m.reading, _why(m.reasons)) for m in changed],
        )
    say()
    if each.instances is None:
        say("live instances: not looked at; name their database with --db")
        return
    counts = Counter(run.verdict for run in each.instances)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    say(f"{len(each.instances)} live instances{': ' if said else ''}{said}")
    shown = each.instances[:SHOWN_MAX]
    if shown:
        rows = [(r.key, str(r.version), r.state, r.verdict, _why(r.reasons, r.remedies)) for r in shown]
        table(("instance", "version", "state", "verdict", "why"), rows, numbers=("version",))
    if len(each.instances) > SHOWN_MAX:
        say(f"… and {len(each.instances) - SHOWN_MAX} more: --json has all")


def _why(reasons: Sequence[str], remedies: Sequence[str] = ()) -> str:
    return "; ".join((*reasons, *remedies))
