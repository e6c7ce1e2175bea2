"""The JSON that commands print: stable shapes, described in docs/cli.md.

Fields are added, never renamed or removed. Times are Unix time in milliseconds, 0 for: not yet.
"""

from collections.abc import Sequence

import msgspec

from sagas.cli.exits import ExitShape
from sagas.core.instance import Instance
from sagas.core.story import Names, Told, happening, operations, summary
from sagas.ports import JournalRow


class InstanceShape(msgspec.Struct, frozen=True, kw_only=True):
    """An instance, as `sagas list` shows it."""

    id: str
    saga: str
    version: int
    key: str
    state: str
    started_ms: int
    updated_ms: int
    cause: str
    reason: str
    summary: str
    incident: str


class PageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of instances; `next` is the id to go on from with `--before`, null on the last page."""

    instances: list[InstanceShape]
    next: str | None


class EntryShape(msgspec.Struct, frozen=True, kw_only=True):
    """One journal row, and the same in words."""

    revision: int
    at_ms: int
    verdict: str
    message_id: str
    triggers: tuple[str, ...]
    path: tuple[str, ...]
    note: str
    words: str


class StoryShape(InstanceShape, frozen=True, kw_only=True):
    """An instance with everything that is known of it, as `sagas show` tells it."""

    deadline_ms: int
    revision: int
    data: msgspec.Raw
    operations: list[Told]
    journal: list[EntryShape]
    cleaned_until: int = 0
    exits: list[ExitShape] = []


class PublishedShape(msgspec.Struct, frozen=True, kw_only=True):
    """What `sagas start` or `sagas signal` published."""

    saga: str
    key: str
    topic: str
    event_type: str
    message_id: str


def instance_shape(instance: Instance, names: Names) -> InstanceShape:
    """The shape of an instance in a list."""
    return InstanceShape(
        id=instance.id,
        saga=instance.saga,
        version=instance.version,
        key=instance.key,
        state=instance.state,
        started_ms=instance.started_ms,
        updated_ms=instance.updated_ms,
        cause=instance.cause,
        reason=instance.reason,
        summary=summary(instance, names),
        incident=instance.incident,
    )


def story_shape(
    instance: Instance,
    journal: Sequence[JournalRow],
    names: Names,
    cleaned: int = 0,
    ways_out: Sequence[ExitShape] = (),
) -> StoryShape:
    """The shape of an instance with its story; `cleaned`: up to which revision its journal was cleaned away."""
    return StoryShape(
        id=instance.id,
        saga=instance.saga,
        version=instance.version,
        key=instance.key,
        state=instance.state,
        started_ms=instance.started_ms,
        updated_ms=instance.updated_ms,
        cause=instance.cause,
        reason=instance.reason,
        summary=summary(instance, names),
        incident=instance.incident,
        deadline_ms=instance.deadline_ms,
        revision=instance.revision,
        data=msgspec.Raw(instance.data),
        operations=operations(instance, names),
        cleaned_until=cleaned,
        exits=list(ways_out),
        journal=[
            EntryShape(
                revision=row.revision,
                at_ms=row.at_ms,
                verdict=row.verdict,
                message_id=row.message_id,
                triggers=row.triggers,
                path=row.path,
                note=row.note,
                words=happening(row),
            )
            for row in journal
        ],
    )


class SettingShape(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. `layer` is default, project, environment, file or command line; a secret is masked."""

    name: str
    key: str
    value: str
    default: str
    layer: str
    place: str


class ConfigShape(msgspec.Struct, frozen=True, kw_only=True):
    """`sagas config --json`."""

    settings: list[SettingShape]
