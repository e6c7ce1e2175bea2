"""Rows of the orchestrator's tables as the port's records, and back."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zlib import crc32

import msgspec

from sagas.core.effects import Fire
from sagas.core.instance import STUCK, Instance, StepRecord
from sagas.errors import DamagedInstance, StoreError
from sagas.ports import Incoming, JournalRow, ParkedRow, TimerRow
from sagas.store.encoding import StoredId, blob, encode, pack, pack_id, unpack, unpack_id

_CHECKED = b"\xc1"
"""Before a record that begins with its checksum. No MessagePack begins so: the one byte it never uses."""

_CHECKSUM_SIZE = 4

_ARRAYS = frozenset(bytes([first]) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))
"""What an array begins with in MessagePack."""


_DO_NOT_FIT = "its columns do not fit its record"


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """The first fields of an instance."""

    id: str
    saga: str
    version: int


_heads = msgspec.msgpack.Decoder(_Head)
_named = msgspec.msgpack.Decoder(dict[str, Any])
_instances = msgspec.msgpack.Decoder(Instance)
_fires = msgspec.msgpack.Decoder(Fire)
_incoming = msgspec.msgpack.Decoder(Incoming)
_moves = msgspec.msgpack.Decoder(tuple[tuple[str, ...], tuple[str, ...]])

_pack_alike = lru_cache(maxsize=1_024)(pack)
"""For what is the same for ever other runs: which moves were made, what a timer is for. Not to be changed."""


def is_live(instance: Instance) -> int:
    """1 for an instance that still moves by itself, 0 for one that has ended or is stuck."""
    return 1 if instance.is_live else 0


def pack_instance(instance: Instance) -> bytearray:
    """The record of an instance, with a checksum: it costs half a microsecond (measured)."""
    record = encode(instance)
    return blob().join((_CHECKED, _checksum(record), record))


def read_instance(stored_id: StoredId, revision: int, state: str, record: bytes) -> Instance:
    """The instance in a row of `instances`. Raises DamagedInstance for one that is not what was written."""
    content = record
    # Rows that an older release wrote have no checksum.
    if record[:1] == _CHECKED:
        content = record[1 + _CHECKSUM_SIZE :]
        if _checksum(content) != record[1 : 1 + _CHECKSUM_SIZE]:
            raise DamagedInstance(unpack_id(stored_id), "its checksum does not fit")
    try:
        instance = _instances.decode(content) if _is_by_order(content) else _by_name(content)
    except msgspec.MsgspecError as error:
        raise DamagedInstance(unpack_id(stored_id), str(error)) from error
    if instance.revision != revision or instance.state != state or pack_id(instance.id) != stored_id:
        raise DamagedInstance(unpack_id(stored_id), _DO_NOT_FIT)
    return instance


def read_whole_row(row: Mapping[str, Any]) -> Instance:
    """The instance in a row by column names, those that only searching needs compared, too. Raises DamagedInstance."""
    instance = read_instance(row["id"], row["revision"], row["state"], row["record"])
    said = (row["saga"], row["key"], row["is_live"], row["updated_ms"])
    if said != (instance.saga, instance.key, is_live(instance), instance.updated_ms):
        raise DamagedInstance(instance.id, _DO_NOT_FIT)
    return instance


def read_version(record: bytes) -> int:
    """Which version of its saga an instance is of, 0 when its record cannot be read."""
    content = record[1 + _CHECKSUM_SIZE :] if record[:1] == _CHECKED else record
    try:
        return _heads.decode(content).version if _is_by_order(content) else _by_name(content).version
    except msgspec.MsgspecError:
        return 0


def _is_by_order(content: bytes) -> bool:
    """Whether a record is an array: older releases wrote a map, with the names of the fields."""
    return content[:1] in _ARRAYS


def _by_name(content: bytes) -> Instance:
    """An instance that an older release wrote. Raises a MsgspecError for one that is none."""
    named = _named.decode(content)
    steps = [_in_order(StepRecord, msgspec.convert(step, dict[str, Any])) for step in named.get("steps", ())]
    return msgspec.convert(_in_order(Instance, {**named, "steps": steps}), Instance)


def _in_order(kind: type[msgspec.Struct], named: Mapping[str, Any]) -> list[Any]:
    """The values of a record's fields in their order; what is not named is left at its default."""
    values: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if field.name not in named and field.required:
            raise msgspec.ValidationError(f"{kind.__name__} without its {field.name!r}")
        values.append(named.get(field.name, field.default))
    return values


def _checksum(content: bytes | bytearray) -> bytes:
    return crc32(content).to_bytes(_CHECKSUM_SIZE, "big")


def damaged_instance(row: Mapping[str, Any], damage: DamagedInstance) -> Instance:
    """What can be shown of a row whose record cannot be read: its columns, and why it is stuck."""
    return Instance(
        id=damage.instance_id,
        saga=row["saga"],
        version=0,
        key=row["key"],
        state=STUCK,
        data=b"",
        revision=row["revision"],
        started_ms=row["updated_ms"],
        updated_ms=row["updated_ms"],
        reason=str(damage),
    )


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
        _pack_alike((row.triggers, row.path)),
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
    return pack_id(row.instance_id), row.name, row.due_ms, _pack_alike(row.fire)


def read_timer(instance_id: StoredId, name: str, due_ms: int, fire: bytes) -> TimerRow:
    """A row of `timers`."""
    return TimerRow(instance_id=unpack_id(instance_id), name=name, due_ms=due_ms, fire=unpack(_fires, fire, "timer"))


def parked_parameters(row: ParkedRow) -> tuple[object, ...]:
    """A parked reply in the order of its columns."""
    return pack_id(row.message_id), pack_id(row.instance_id), row.received_ms, row.expires_ms, pack(row.incoming)


def read_parked(
    message_id: StoredId, instance_id: StoredId, received_ms: int, expires_ms: int, record: bytes
) -> ParkedRow:
    """A row of `parked`. Of one that is damaged the message says so as its defect, and nothing else."""
    row_id = unpack_id(message_id)
    try:
        incoming = unpack(_incoming, record, "parked message")
    except StoreError as error:
        incoming = Incoming(
            id=row_id,
            topic="",
            partition=0,
            offset=0,
            timestamp_ms=received_ms,
            payload=record,
            defect=str(error),
        )
    return ParkedRow(
        message_id=row_id,
        instance_id=unpack_id(instance_id),
        received_ms=received_ms,
        expires_ms=expires_ms,
        incoming=incoming,
    )
