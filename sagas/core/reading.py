"""Turning the raw parts of a reply or a signal into the message that the step or the wait declares."""

from sagas.core.definition import Definition, StepSpec, WaitSpec
from sagas.core.effects import Reply
from sagas.core.envelope import Undecodable, decode_data
from sagas.core.messages import Event, Fault, InProgress, Undeliverable, tag_of

_ENGINE_REPLIES: dict[str, type[Event]] = {tag_of(reply): reply for reply in (InProgress, Fault, Undeliverable)}


def read_reply(definition: Definition, key: str, spec: StepSpec, message: Reply) -> Event | str:
    """The reply as a message, or in words why it is none that this operation of the step declares."""
    replies = spec.replies if message.operation == "do" else spec.undo.replies if spec.undo else _ENGINE_REPLIES
    reply_type = replies.get(message.event_type) or _ENGINE_REPLIES.get(message.event_type)
    if reply_type is None:
        return f"{spec.name} {message.operation} has no reply {message.event_type!r}"
    reply = decode_data(reply_type, definition.key, key, message.data)
    return f"unreadable: {reply.reason}" if isinstance(reply, Undecodable) else reply


def read_signal(definition: Definition, key: str, spec: WaitSpec, event_type: str, data: bytes) -> Event | str:
    """The signal as a message, or in words why it cannot be read."""
    signal = decode_data(spec.signals[event_type], definition.key, key, data)
    return f"unreadable: {signal.reason}" if isinstance(signal, Undecodable) else signal


def because(reply: Event) -> str:
    """The reason that a message gives, in parentheses; "" when it gives none."""
    reason = getattr(reply, "reason", "")
    return f" ({reason})" if isinstance(reason, str) and reason else ""
