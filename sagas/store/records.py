"""Rows of the orchestrator's tables as the port's records, and back."""

from collections.abc import Mapping
from typing import Any

import msgspec

from sagas.core.effects import Fire
from sagas.core.instance import Instance
from sagas.ports import Incoming, JournalRow, ParkedRow, TimerRow
from sagas.store.encoding import StoredId, blob, pack, pack_id, unpack, unpack_id

_instances = msgspec.msgpack.Decoder(Instance)
_fires = msgspec.msgpack.Decoder(Fire)
_incoming = msgspec.msgpack.Decoder(Incoming)
_moves = msgspec.msgpack.Decoder(tuple[tuple[str, ...], tuple[str, ...]])


def is_live(instance: Instance) -> int:
    """1 for an instance that still moves by itself, 0 for one that has ended or is stuck."""
    return 0 if instance.is_ended or instance.is_stuck else 1


def read_instance(record: bytes) -> Instance:
    """The instance in a row of `instances`."""
    return unpack(_instances, record, "instance")


def journal_parameters(row: JournalRow) -> tuple[object, ...]:
    """A journal row in the order of its columns."""
    return (
        pack_id(row.instance_id),
        row.revision,
        row.at_ms,
        row.verdict,
        pack_id(row.message_id),
        row.note,
        blob(row.input),
        pack((row.triggers, row.path)),
    )


def read_journal_row(row: Mapping[str, Any]) -> JournalRow:
    """A row of `journal` by column names."""
    triggers, path = unpack(_moves, row["moves"], "journal")
    return JournalRow(
        instance_id=unpack_id(row["instance_id"]),
        revision=row["revision"],
        at_ms=row["at_ms"],
        verdict=row["verdict"],
        message_id=unpack_id(row["message_id"]),
        note=row["note"],
        input=row["input"],
        triggers=triggers,
        path=path,
    )


def timer_parameters(row: TimerRow) -> tuple[object, ...]:
    """A timer in the order of its columns."""
    return pack_id(row.instance_id), row.name, row.due_ms, pack(row.fire)


def read_timer(instance_id: StoredId, name: str, due_ms: int, fire: bytes) -> TimerRow:
    """A row of `timers`."""
    return TimerRow(instance_id=unpack_id(instance_id), name=name, due_ms=due_ms, fire=unpack(_fires, fire, "timer"))


def parked_parameters(row: ParkedRow) -> tuple[object, ...]:
    """A parked reply in the order of its columns."""
    return pack_id(row.message_id), pack_id(row.instance_id), row.received_ms, row.expires_ms, pack(row.incoming)


def read_parked(
    message_id: StoredId, instance_id: StoredId, received_ms: int, expires_ms: int, record: bytes
) -> ParkedRow:
    """A row of `parked`."""
    return ParkedRow(
        message_id=unpack_id(message_id),
        instance_id=unpack_id(instance_id),
        received_ms=received_ms,
        expires_ms=expires_ms,
        incoming=unpack(_incoming, record, "parked message"),
    )
