"""Turning the raw parts of a reply into the message that the step declares."""

from sagas.core.definition import Definition, StepSpec
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
