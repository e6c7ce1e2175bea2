"""Before an orchestrator begins: whether every run that is under way can go on, and what to write if one cannot.

Theory of operation. The runs that have not ended are read once. Each belongs to a version that is loaded, or to one
whose runs a newer version takes over (`catalog.py`), or it is stranded: nobody would ever move it again. Then the
orchestrator is not started, and the error says for each version which states and steps are missing and what
its author may write. Runs of sagas of which no version is loaded here belong to another orchestrator on the
same database. What is loaded is written down, so that a later release can compare itself to it.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sagas.core.carrying import Problem
from sagas.core.definition import Definition
from sagas.core.instance import ENDS, Instance
from sagas.core.shape import encode_shape, shape_of
from sagas.errors import SagaError
from sagas.ports import DefinitionRow, InstanceFilter, Store
from sagas.runtime.catalog import Catalog, DefinitionBook

KEYS_SHOWN_MAX = 3
"""Of the runs that lack the same: more are counted."""

PAGE = 500
"""Runs read at once."""


class Database(Store, DefinitionBook, Protocol):
    """What an orchestrator's database is asked before it begins."""


class StrandedInstances(SagaError):
    """Loading these definitions would strand runs that are under way. The text says which, and the remedy."""


def admit(definitions: Sequence[Definition], database: Database, now_ms: int, *, may_strand: bool = False) -> None:
    """Write down what is loaded, unless a run under way would be stranded: then raise StrandedInstances.

    With `may_strand` they wait for a node that knows their version, as they do in a rolling deployment.
    """
    catalog = Catalog(definitions, database)
    if not may_strand:
        stranded = list(strandings(catalog, database))
        if stranded:
            raise StrandedInstances(_told(catalog, stranded))
    rows = [
        DefinitionRow(
            saga=d.name, version=d.version, content=d.content, shape=encode_shape(shape_of(d)), first_ms=now_ms
        )
        for d in definitions
    ]
    known = {(row.saga, row.version, row.content) for row in database.definitions()}
    if any((row.saga, row.version, row.content) not in known for row in rows):
        database.keep_definitions(rows)


def live_instances(store: Store) -> Iterator[Instance]:
    """The runs that have not ended, those that are stuck among them."""
    for state in sorted(set(store.counts()) - set(ENDS)):
        before = ""
        while page := store.instances(InstanceFilter(state=state, before_id=before, count_max=PAGE)):
            yield from page
            before = page[-1].id


def strandings(catalog: Catalog, store: Store) -> Iterator[tuple[Instance, list[Problem]]]:
    """The runs under way that nobody here could move, and why not."""
    for instance in live_instances(store):
        newest = catalog.newest(instance.saga)
        if newest is None or instance.is_damaged or catalog.exact(instance) is not None:
            continue  # another orchestrator's, or a damaged row, or as it should be
        problems = stranding(catalog, newest, instance)
        if problems:
            yield instance, problems


def stranding(catalog: Catalog, newest: Definition, instance: Instance) -> list[Problem]:
    """Why a run whose own version is not loaded cannot go on under the newest one; [] when it can."""
    if newest.version < instance.version:
        return [Problem(text=f"version {newest.version} is the newest here", remedy=f"load version {instance.version}")]
    if newest.version == instance.version:
        return [_uncounted(newest)]
    return catalog.problems(instance, newest)


def _uncounted(definition: Definition) -> Problem:
    return Problem(
        text=f"version {definition.version} has other steps or messages than when it began",
        remedy=f"raise it to version={definition.version + 1}: then they go on under it if they can",
    )


def _told(catalog: Catalog, stranded: Sequence[tuple[Instance, list[Problem]]]) -> str:
    groups: dict[tuple[str, int, str, tuple[Problem, ...]], list[str]] = {}
    for instance, found in stranded:
        where = (instance.saga, instance.version, instance.state, tuple(found))
        groups.setdefault(where, []).append(instance.key)
    lines = [f"not started: {len(stranded)} live instances would be stranded"]
    for (saga, version, state, problems), keys in groups.items():
        shown = ", ".join(keys[:KEYS_SHOWN_MAX]) + (", …" if len(keys) > KEYS_SHOWN_MAX else "")
        why = "; ".join(problem.text for problem in problems)
        lines.append(f"  saga {saga!r} version {version}, {len(keys)} in {state} ({shown}): {why}")
        lines += [f"    {remedy}" for remedy in dict.fromkeys(p.remedy for p in problems) if remedy]
    versions = sorted({(instance.saga, instance.version) for instance, _ in stranded})
    lines += [f"  {_way_out(catalog, saga, version)}" for saga, version in versions]
    lines.append("  or start all the same with --leave-unknown: they wait for a node that knows their version")
    return "\n".join(lines)


def _way_out(catalog: Catalog, saga: str, version: int) -> str:
    newest = catalog.newest(saga)
    assert newest is not None
    if newest.version == version:
        return (
            f"or load what {saga!r} version {version} was until they have ended, or end them by it "
            "(`sagas cancel`, `sagas abandon`, with `--module` and its file of that release)"
        )
    return (
        f"or load {saga!r} version {version} beside version {newest.version} until they have ended "
        "(`sagas run OLD NEW`), or end them by it (`sagas cancel`, `sagas abandon`, with `--module OLD`)"
    )
