"""Understanding a command: whose operation it is, what carries it out, or why it cannot be read.

The headers say whose it is and the payload what is asked. Each can be unreadable without the other: a
command whose body nobody can read still has a saga that waits for its answer.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from sagas.core.drafts import STEP_NAME
from sagas.core.envelope import Envelope, Header, Undecodable, decode_data, decode_envelope
from sagas.core.hashing import short_hash
from sagas.core.ids import derived_id, is_instance_id
from sagas.core.instance import Operation
from sagas.core.messages import Command
from sagas.core.participants import Participant
from sagas.ports import Incoming
from sagas.runtime.handlers import Handler

RETRIABLE = "retriable"
"""The value of the header `kind`."""

_UNIX_MS = re.compile(r"\A[0-9]{0,15}\Z")
_OPERATIONS: Mapping[str, Operation] = {"do": "do", "undo": "undo"}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Whose operation a message says it is for. `key` chooses the partition of the answers to it.

    `is_final`: refusing it settles it, for its saga turns back. An undo, or a step behind the point of no
    return, is asked for again after a repair. After `deadline_ms` (Unix time, 0: never) it is too late for it.
    """

    command_id: str
    instance_id: str
    step: str
    operation: Operation
    attempt: str
    key: str
    is_final: bool
    deadline_ms: int


class Delivery(Claim, frozen=True, kw_only=True):
    """A command as it was understood, with what carries it out."""

    command: Command[Any]
    handler: Handler
    body_hash: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """A command that cannot be carried out, why, and whose it is if that can be known."""

    reason: str
    claim: Claim | None


def read_claim(incoming: Incoming, key_field: str) -> Claim | str:
    """Whose operation the headers say it is, or in words why they do not say it."""
    if incoming.defect:
        return incoming.defect
    envelope = decode_envelope(incoming.payload, key_field)
    return _claim(incoming, envelope.key if isinstance(envelope, Envelope) else "")


def understand(incoming: Incoming, participant: Participant, handlers: Mapping[str, Handler]) -> Delivery | Unreadable:
    """The command in `incoming`. Never raises for what is in a message."""
    if incoming.defect:
        return Unreadable(incoming.defect, None)
    envelope = decode_envelope(incoming.payload, participant.key)
    claim = _claim(incoming, envelope.key if isinstance(envelope, Envelope) else "")
    known_claim = claim if isinstance(claim, Claim) else None
    if isinstance(envelope, Undecodable):
        return Unreadable(envelope.reason, known_claim)
    handler = handlers.get(envelope.event_type)
    if handler is None:
        known = ", ".join(sorted(handlers))
        return Unreadable(f"{participant.name} does not understand {envelope.event_type!r}, only {known}", known_claim)
    if isinstance(claim, str):
        return Unreadable(claim, None)
    if claim.operation != handler.operation:
        return Unreadable(
            f"header {Header.OPERATION} is {claim.operation!r}, its handler is for {handler.operation!r}", claim
        )
    command = decode_data(handler.command_type, participant.key, envelope.key, envelope.data)
    if isinstance(command, Undecodable):
        return Unreadable(command.reason, claim)
    return Delivery(
        **msgspec.structs.asdict(claim), command=command, handler=handler, body_hash=short_hash(envelope.data)
    )


def _claim(incoming: Incoming, key: str) -> Claim | str:
    instance_id, step, said, attempt, kind, deadline = (
        incoming.headers.get(h, "")
        for h in (Header.INSTANCE, Header.STEP, Header.OPERATION, Header.ATTEMPT, Header.KIND, Header.DEADLINE)
    )
    if not instance_id or not step:
        return f"no headers {Header.INSTANCE} and {Header.STEP}: whose command is it?"
    operation = _OPERATIONS.get(said)
    if operation is None:
        return f"header {Header.OPERATION} is {said!r}, expected do or undo"
    if not STEP_NAME.match(step):
        return f"header {Header.STEP} is no step's name: {step[:64]!r}"
    if not is_instance_id(instance_id):
        return f"header {Header.INSTANCE} is no instance id: {instance_id[:64]!r}"
    if not _UNIX_MS.match(deadline):
        return f"header {Header.DEADLINE} is no Unix time in ms: {deadline[:64]!r}"
    return Claim(
        command_id=derived_id(instance_id, step, operation),
        instance_id=instance_id,
        step=step,
        operation=operation,
        attempt=attempt,
        # Without a readable key the answer goes by the instance's id: to some partition, which is enough.
        key=key or instance_id,
        is_final=operation == "do" and kind != RETRIABLE,
        # An undo, and what stands behind the pivot, is waited for, whatever a header says.
        deadline_ms=int(deadline or 0) if operation == "do" and kind != RETRIABLE else 0,
    )
