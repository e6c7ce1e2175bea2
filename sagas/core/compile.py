"""Closes a saga: checks it as a whole and compiles it into a `Definition`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagas.core.definition import Definition, StartSpec, StepSpec, UndoSpec
from sagas.core.drafts import NAME, FlowParts, StepDraft
from sagas.core.machine import edges_of, machine_of, places_of, table_of
from sagas.core.messages import Event, Rejection, reply_types, tag_of
from sagas.core.shape import content_of
from sagas.errors import DefinitionError


def compile_saga(
    *,
    name: str,
    version: int,
    key: str,
    data_type: type[Any],
    start: StartSpec | None,
    deadline_ms: int,
    drafts: Mapping[str, StepDraft],
    course: FlowParts,
    where: str,
    renames: Mapping[str, str],
) -> Definition:
    """Check the whole and compile it. Raises DefinitionError."""
    if not NAME.match(name):
        raise DefinitionError(name, "", "is no name", "use letters, digits and _, beginning with a letter", where)
    if version < 1:
        raise DefinitionError(name, "", f"version {version} is out of range", "count versions from 1", where)
    if start is None:
        raise DefinitionError(name, "", "nothing starts it", "add @saga.start(on=PARTICIPANT)", where)
    _check_course(name, drafts, course, where)
    _check_order(course)
    specs = [_spec_of(draft) for draft in course]
    edges = edges_of(specs)
    machine = machine_of(name, edges)
    _check_renames(name, renames, [spec.name for spec in specs], where)
    definition = Definition(
        name=name,
        version=version,
        key=key,
        data_type=data_type,
        start=start,
        steps={spec.name: spec for spec in specs},
        deadline_ms=deadline_ms,
        edges=edges,
        machine=machine,
        table=table_of(machine),
        places=places_of(specs),
        renames=dict(renames),
    )
    return replace(definition, content=content_of(definition))


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


def _check_course(name: str, drafts: Mapping[str, StepDraft], course: FlowParts, where: str) -> None:
    passed: set[str] = set()
    for draft in course:
        if draft.name in passed:
            raise draft.refuse("it stands twice in the flow", "a step runs once: write a second step", where)
        passed.add(draft.name)
        if drafts.get(draft.name) is not draft:
            raise draft.refuse(f"it belongs to saga {draft.saga!r}", f"use the steps of saga {name!r} only", where)
    for draft in drafts.values():
        if draft.name not in passed:
            raise draft.refuse("it is not in the flow", f"join it: `… >> {draft.name}`, or remove it")


def _check_order(course: Sequence[StepDraft]) -> None:
    pivot: StepDraft | None = None
    for draft in course:
        if draft.kind == "pivot":
            if pivot is not None:
                raise draft.refuse(
                    f"it is the second pivot; the first is {pivot.name!r} ({pivot.where})",
                    "what follows the pivot must be `@saga.retriable`",
                )
            pivot = draft
        elif draft.kind == "compensatable" and pivot is not None:
            raise draft.refuse(
                f"it can be undone and stands after the pivot {pivot.name!r}, which cannot",
                "put it before the pivot, or make it `@saga.retriable`",
            )
        elif draft.kind == "retriable" and pivot is None and not _is_last_kind(course, draft):
            raise draft.refuse(
                "it cannot be undone and stands before a step that can be refused",
                "put it after the pivot, or make it `@saga.step` with an undo",
            )


def _is_last_kind(course: Sequence[StepDraft], draft: StepDraft) -> bool:
    # Without a pivot, the last step that can be refused is the one that decides: only retriable ones may follow.
    after = course[list(course).index(draft) :]
    return all(d.kind == "retriable" for d in after) and len(after) < len(course)


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


def _by_tag(draft: StepDraft, replies: Sequence[type[Event]]) -> dict[str, type[Event]]:
    tags = {tag_of(reply): reply for reply in replies}
    if len(tags) < len(replies) or len({r.__name__ for r in replies}) < len(replies):
        raise draft.refuse("two of its replies share a name or a tag", "give each its own")
    return tags
