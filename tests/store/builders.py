"""Records for the tests of stores, with everything filled in that a store must bring back."""

from msgspec.structs import replace

from sagas.core.effects import Fire
from sagas.core.ids import derived_id, instance_id
from sagas.core.instance import COMPLETED, Instance, Operation, StepRecord
from sagas.ports import BarrierRow, DeadLetter, Incoming, JournalRow, OutboxRow, ParkedRow, TimerRow

NOW_MS = 1_760_000_000_000
FOREIGN_ID = "ORDER-7/β exactly"
"""An id that is no UUID: whoever writes to a topic chooses the ids of its messages."""


def an_instance(key: str, *, saga: str = "order", state: str = "reserve.pending", age: int = 0) -> Instance:
    """An instance; `age` sorts it: a larger one is older."""
    started_ms = NOW_MS - age
    return Instance(
        id=instance_id(saga, key, started_ms),
        saga=saga,
        version=3,
        key=key,
        state=state,
        data=b'{"order_id":"o-1","note":"\xc3\xa4"}',
        revision=1,
        started_ms=started_ms,
        updated_ms=started_ms,
        deadline_ms=started_ms + 60_000,
        start_hash=b"\x00\xff",
        steps=(
            StepRecord(name="create", effect="done", reply="order.created", sent_ms=NOW_MS, answered_ms=NOW_MS + 1),
            StepRecord(name="reserve", attempts=2, undo_reply="inventory.released", undo_attempts=1),
        ),
        cause="timeout",
        reason="payment: refused",
    )


def a_step_later(instance: Instance, state: str = COMPLETED) -> tuple[Instance, int]:
    """The instance one revision on in `state`, and the revision it was read with: an entry of `Changes.updated`."""
    return replace(instance, state=state, revision=instance.revision + 1), instance.revision


def a_message_id(name: str) -> str:
    """A message id as the engine makes them."""
    return derived_id(instance_id("order", "o-1", NOW_MS), name)


def an_outbox_row(name: str, *, created_at: int = NOW_MS) -> OutboxRow:
    """A command to be published."""
    return OutboxRow(
        id=a_message_id(name),
        event_type="inventory.reserve",
        payload=b'{"id":1}',
        created_at=created_at,
        aggregate_type="order",
        aggregate_id=instance_id("order", "o-1", NOW_MS),
        topic="inventory",
        key="o-1",
        headers={"saga": "order", "step": name},
    )


def a_journal_row(instance: Instance, revision: int) -> JournalRow:
    """What moved an instance to `revision`."""
    return JournalRow(
        instance_id=instance.id,
        revision=revision,
        at_ms=NOW_MS + revision,
        verdict="advance",
        input=b"\x81\x00",
        message_id=a_message_id(f"m{revision}"),
        triggers=("reserve.InventoryReserved", "pay.send"),
        path=("reserve.pending", "pay.pending"),
        note="moved",
    )


def a_timer(instance: Instance, name: str, due_ms: int) -> TimerRow:
    """A timer of an instance."""
    fire = Fire(kind="timeout", step="reserve", operation="undo", attempt=2)
    return TimerRow(instance_id=instance.id, name=name, due_ms=due_ms, fire=fire)


def a_dead_letter(reason: str, *, message_id: str = FOREIGN_ID) -> DeadLetter:
    """A message that could not be dealt with."""
    return DeadLetter(
        received_ms=NOW_MS,
        topic="replies",
        partition=2,
        offset=41,
        message_id=message_id,
        reason=reason,
        payload=b"\xff\x00not json",
        headers={"step": "?"},
    )


def a_parked_row(instance: Instance, name: str, *, received_ms: int = NOW_MS, expires_ms: int = NOW_MS) -> ParkedRow:
    """A reply that came too early."""
    incoming = Incoming(
        id=a_message_id(name),
        topic="replies",
        partition=1,
        offset=7,
        timestamp_ms=received_ms - 5,
        payload=b"\x00reply",
        headers={"step": "pay"},
    )
    return ParkedRow(
        message_id=incoming.id,
        instance_id=instance.id,
        received_ms=received_ms,
        expires_ms=expires_ms,
        incoming=incoming,
    )


def a_barrier_row(step: str = "reserve", operation: Operation = "do") -> BarrierRow:
    """What a participant remembers of an operation it answered."""
    return BarrierRow(
        instance_id=instance_id("order", "o-1", NOW_MS),
        step=step,
        operation=operation,
        command_hash=b"\x01\x02",
        answer="inventory.reserved",
        answer_data=b'{"order_id":"o-1"}',
    )
