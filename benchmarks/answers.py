"""Participants that keep nothing, as those of the peers do: every command is answered at once, from memory."""

from collections.abc import Mapping, Sequence

import anyio
import msgspec

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.clock import SystemClock
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import derived_id
from sagas.core.instance import Operation
from sagas.core.messages import Event
from sagas.core.participants import Participant
from sagas.errors import BrokerError
from sagas.ports import Outgoing, TopicSpec
from sagas.runtime.delivery import reply_headers
from services.contracts import PaymentFailed
from services.orders.saga import order_saga

DEFINITION = order_saga.definition

REPLIES = {
    "create": ("order.created", b'{"items":[{"product_id":"123","quantity":2}],"total":"59.98"}'),
    "reserve": ("inventory.reserved", b"{}"),
    "pay": ("payment.processed", b'{"payment_id":"p"}'),
    "ship": ("order.shipped", b'{"tracking":"t"}'),
}
"""How each step of an order that completes is answered: the event's type and its data without the key."""

_WAIT_MS_MAX = 100


class _Keyed(msgspec.Struct, frozen=True):
    order_id: str


_key_of = msgspec.json.Decoder(_Keyed).decode


def reply_events(key: str) -> dict[str, Event]:
    """The answers to an order's steps, by step."""
    found: dict[str, Event] = {}
    for step, (tag, data) in REPLIES.items():
        body = msgspec.json.decode(data, type=dict[str, object])
        found[step] = msgspec.convert({**body, DEFINITION.key: key}, DEFINITION.steps[step].replies[tag])
    return found


def _undone_events(key: str) -> dict[str, Event]:
    undos = {name: step.undo for name, step in DEFINITION.steps.items() if step.undo is not None}
    # Each undo has one answer, which says nothing but whose it is.
    return {name: msgspec.convert({DEFINITION.key: key}, *undo.replies.values()) for name, undo in undos.items()}


_ANSWERS: Mapping[Operation, Mapping[str, Event]] = {"do": reply_events("any"), "undo": _undone_events("any")}
"""By operation and step, of no order yet."""

_DECLINED = PaymentFailed(order_id="any", reason="declined")


def answer_to(headers: Mapping[str, str], command_id: str, key: str, now_ms: int, *, is_declined: bool) -> Outgoing:
    """Yes to a command with these headers, whatever it is; no to a payment that `is_declined`."""
    step = headers[Header.STEP]
    operation: Operation = "do" if headers[Header.OPERATION] == "do" else "undo"
    is_refused = is_declined and (step, operation) == ("pay", "do")
    event = _DECLINED if is_refused else _ANSWERS[operation][step]
    answer_id = derived_id(command_id, "answer")
    message = msgspec.structs.replace(event, **{DEFINITION.key: key})
    return Outgoing(
        id=answer_id,
        topic=DEFINITION.steps[step].to.events,
        key=key,
        payload=encode_message(message, message_id=answer_id, key_field=DEFINITION.key, key=key, now_ms=now_ms),
        headers=reply_headers(headers[Header.INSTANCE], step, operation, command_id),
    )


async def answer(world: MemoryWorld, participant: Participant, topics: Sequence[TopicSpec], stop: anyio.Event) -> None:
    """Say yes to every command of `participant` until `stop` is set."""
    broker, clock = MemoryBroker(world), SystemClock()
    await broker.ensure(topics)
    subscription = await broker.subscribe(participant.name, [participant.commands])
    while not stop.is_set():
        await subscription.wait(_WAIT_MS_MAX)
        for command in await subscription.poll(1):
            key = _key_of(command.payload).order_id
            said = answer_to(command.headers, command.id, key, clock.now_ms(), is_declined=False)
            broker.send([said], _require_sent)


def _require_sent(error: BrokerError | None) -> None:
    assert error is None, error
