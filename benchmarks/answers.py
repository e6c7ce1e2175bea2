"""Participants that keep nothing, as those of the peers do: every command is answered at once, from memory."""

from collections.abc import Sequence

import anyio
import msgspec

from benchmarks.limits import DEFINITION, reply_events
from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.clock import SystemClock
from sagas.core.envelope import Envelope, Header, decode_envelope, encode_message
from sagas.core.ids import derived_id
from sagas.core.participants import Participant
from sagas.errors import BrokerError
from sagas.ports import Incoming, Outgoing, TopicSpec
from sagas.runtime.delivery import reply_headers

_WAIT_MS_MAX = 100


ANSWERS = reply_events("any")
"""By step, of no order yet."""


async def answer(world: MemoryWorld, participant: Participant, topics: Sequence[TopicSpec], stop: anyio.Event) -> None:
    """Say yes to every command of `participant` until `stop` is set."""
    broker, clock = MemoryBroker(world), SystemClock()
    await broker.ensure(topics)
    subscription = await broker.subscribe(participant.name, [participant.commands])
    while not stop.is_set():
        await subscription.wait(_WAIT_MS_MAX)
        commands = await subscription.poll(1)
        if commands:
            broker.send([_answer(participant, command, clock.now_ms()) for command in commands], _require_sent)


def _require_sent(error: BrokerError | None) -> None:
    assert error is None, error


def _answer(participant: Participant, command: Incoming, now_ms: int) -> Outgoing:
    envelope = decode_envelope(command.payload, DEFINITION.key)
    assert isinstance(envelope, Envelope), "the orchestrator has written it"
    headers, key, answer_id = command.headers, envelope.key, derived_id(command.id, "answer")
    event = msgspec.structs.replace(ANSWERS[headers[Header.STEP]], **{DEFINITION.key: key})
    return Outgoing(
        id=answer_id,
        topic=participant.events,
        key=key,
        payload=encode_message(event, message_id=answer_id, key_field=DEFINITION.key, key=key, now_ms=now_ms),
        headers=reply_headers(headers[Header.INSTANCE], headers[Header.STEP], "do", command.id),
    )
