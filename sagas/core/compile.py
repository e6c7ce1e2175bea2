"""Closes a saga: checks it as a whole and compiles it into a `Definition`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from sagas.core.course import Course, leaves
from sagas.core.dataflow import check_data_flow
from sagas.core.definition import (
    ChoiceSpec,
    Definition,
    DelaySpec,
    LeafSpec,
    StartSpec,
    StepSpec,
    UndoSpec,
    WaitSpec,
)
from sagas.core.drafts import Draft, StepDraft
from sagas.core.edge_list import TooManyStates
from sagas.core.edges import Edges, edges_of
from sagas.core.listing import each_of
from sagas.core.machine import machine_of, places_of, table_of
from sagas.core.messages import Event, Rejection, reply_types, tag_of
from sagas.core.order import check_order
from sagas.core.pauses import ChoiceDraft, DelayDraft, WaitDraft
from sagas.core.shape import content_of
from sagas.core.wellformed import type_problem
from sagas.errors import DefinitionError


def compile_saga(
    *,
    name: str,
    version: int,
    key: str,
    data_type: type[Any],
    start: StartSpec | None,
    deadline_ms: int,
    drafts: Mapping[str, Draft],
    course: Course,
    passed: Sequence[Draft],
    where: str,
    renames: Mapping[str, str],
) -> Definition:
    """Check the whole and compile it. Raises DefinitionError."""
    if type(version) is not int or version < 1:
        raise DefinitionError(name, "", f"version {version!r} is out of range", "count versions from 1", where)
    if start is None:
        raise DefinitionError(name, "", "nothing starts it", "add @saga.start(on=PARTICIPANT)", where)
    _check_course(name, drafts, passed, where)
    turnable = check_order(course, drafts)
    specs = {leaf.name: _leaf_of(drafts[leaf.name]) for leaf in leaves(course)}
    _check_data(name, data_type, where)
    check_data_flow(course, drafts, start, data_type)
    found = _edges(name, course, specs, turnable, where)
    machine = machine_of(name, found.edges)
    _check_renames(name, renames, list(specs), where)
    definition = Definition(
        name=name,
        version=version,
        key=key,
        data_type=data_type,
        start=start,
        steps={spec.name: spec for spec in specs.values() if isinstance(spec, StepSpec)},
        deadline_ms=deadline_ms,
        edges=found.edges,
        machine=machine,
        table=table_of(machine),
        places=places_of(found.lanes),
        lanes=found.lanes,
        course=course,
        waits={spec.name: spec for spec in specs.values() if isinstance(spec, WaitSpec)},
        delays={spec.name: spec for spec in specs.values() if isinstance(spec, DelaySpec)},
        choices={spec.name: spec for spec in specs.values() if isinstance(spec, ChoiceSpec)},
        turnable=turnable,
        renames=dict(renames),
    )
    return replace(definition, content=content_of(definition))


def _check_data(saga: str, data_type: type[Any], where: str) -> None:
    said = getattr(data_type, "__name__", str(data_type))
    try:
        isinstance(None, data_type)
    except TypeError:
        said = str(data_type) if get_args(data_type) else said
        raise DefinitionError(
            saga, "", f"its data are of type {said}, which has no instances", "write a `msgspec.Struct`", where
        ) from None
    problem = type_problem(data_type)
    if problem:
        raise DefinitionError(saga, "", f"its data, of type {said}, {problem[0]}", problem[1], where)


def _check_renames(saga: str, renames: Mapping[str, str], steps: Sequence[str], where: str) -> None:
    for old, new in renames.items():
        if new not in steps:
            raise DefinitionError(
                saga,
                "",
                f"renames {old!r} to {new!r}, and has no step {new!r}",
                f"name one of {', '.join(steps)}",
                where,
            )
        if old in steps:
            raise DefinitionError(
                saga,
                "",
                f"renames {old!r}, and has a step {old!r}",
                "give the new step a name that was never used",
                where,
            )


def _edges(name: str, course: Course, specs: Mapping[str, LeafSpec], turnable: frozenset[str], where: str) -> Edges:
    try:
        return edges_of(course, specs, turnable)
    except TooManyStates as error:
        raise DefinitionError(
            name,
            "",
            f"its parallel branches multiply to {error}",
            "join some of the branches before others begin: `(a & b) >> (c & d)`",
            where,
        ) from None


def _check_course(name: str, drafts: Mapping[str, Draft], course: Sequence[Draft], where: str) -> None:
    passed: set[str] = set()
    for draft in course:
        if drafts.get(draft.name) is not draft:
            raise draft.refuse(f"it belongs to saga {draft.saga!r}", f"use the steps of saga {name!r} only", where)
        if draft.name in passed:
            raise draft.refuse("it stands twice in the flow", "a step runs once: write a second step", where)
        passed.add(draft.name)
    for draft in drafts.values():
        if draft.name not in passed:
            raise draft.refuse("it is not in the flow", f"join it: `… >> {draft.name}`, or remove it")


def _leaf_of(draft: Draft) -> LeafSpec:
    match draft:
        case WaitDraft():
            signals = _by_tag(draft, draft.signals)
            assert draft.absence is not None, "check_wait has refused it"
            return WaitSpec(draft.name, draft.topic, signals, draft.fold, draft.timeout_ms, draft.absence, draft.where)
        case DelayDraft():
            return DelaySpec(draft.name, draft.seconds, draft.where)
        case ChoiceDraft():
            return ChoiceSpec(draft.name, draft.test, draft.where)
        case StepDraft():
            return _spec_of(draft)
        case _:
            raise AssertionError(f"no leaf is drafted as {type(draft).__name__}")


def _spec_of(draft: StepDraft) -> StepSpec:
    assert draft.command_type is not None
    assert draft.unknown is not None
    if draft.fold is None:
        replies = " | ".join(r.__name__ for r in draft.replies)
        raise draft.refuse(
            f"nobody handles its replies {replies}",
            f"add `@{draft.name}.reply`, or `{draft.name}.reply(unchanged)` to keep nothing of them",
        )
    if draft.kind == "compensatable" and draft.undo_build is None and not draft.leaves_nothing:
        raise draft.refuse("it can be undone and has no undo", f"add `@{draft.name}.undo`, or say leaves_nothing=True")
    if draft.kind == "retriable" and any(issubclass(r, Rejection) for r in draft.replies):
        refusals = ", ".join(r.__name__ for r in draft.replies if issubclass(r, Rejection))
        raise draft.refuse(
            f"it stands after the point of no return and can be refused ({refusals})",
            "take the rejection out of its command's replies, or put it before the pivot",
        )
    if all(issubclass(r, Rejection) for r in draft.replies):
        raise draft.refuse("every reply of it is a rejection", "add a reply that says: done")
    return StepSpec(
        name=draft.name,
        kind=draft.kind,
        to=draft.to,
        build=draft.build,
        command_type=draft.command_type,
        replies=_by_tag(draft, draft.replies),
        fold=draft.fold,
        undo=_undo_of(draft),
        timeout_ms=draft.timeout_ms,
        resend_ms=min(draft.resend_ms, draft.timeout_ms),
        unknown=draft.unknown,
        retry=draft.retry,
        where=draft.where,
        expires=draft.expires,
        each=each_of(draft.each) if draft.each is not None else None,
    )


def _undo_of(draft: StepDraft) -> UndoSpec | None:
    if draft.undo_build is None or draft.undo_type is None:
        return None
    replies = reply_types(draft.undo_type)
    shared = {r.__name__ for r in replies} & {r.__name__ for r in draft.replies}
    if shared:
        raise draft.refuse(
            f"do and undo share the reply {', '.join(sorted(shared))}", "give the undo its own", draft.undo_where
        )
    if all(issubclass(r, Rejection) for r in replies):
        raise draft.refuse("every reply of its undo is a rejection", "add one that says: undone", draft.undo_where)
    return UndoSpec(draft.undo_build, draft.undo_type, _by_tag(draft, replies), draft.undo_retry)


def _by_tag(draft: Draft, replies: Sequence[type[Event]]) -> dict[str, type[Event]]:
    tags = {tag_of(reply): reply for reply in replies}
    if len(tags) < len(replies) or len({r.__name__ for r in replies}) < len(replies):
        raise draft.refuse("two of its replies share a name or a tag", "give each its own")
    return tags
