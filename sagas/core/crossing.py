"""The messages between two releases: what one writes and the other reads, by their shapes.

Theory of operation. What the old release has put into the topics must be read by the new one: starts, signals and
answers, and the commands that are on their way. While both are deployed, the old participants read what the new
orchestrator says, too.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from sagas.core.compatibility import is_upcast, message_problems, missing_replies
from sagas.core.definition import Definition
from sagas.core.messages import tag_of
from sagas.core.shape import MessageShape, SagaShape, WaitShape, shape_of

Reading = Literal["as it is", "by an upcaster", "not at all"]
"""How a message is read by the other side."""


_CLIENTS = "clients of the old release"
_NEW = "the new orchestrator"


class MessageReport(msgspec.Struct, frozen=True, kw_only=True):
    """A message between the releases: who wrote it, who reads it, and how."""

    tag: str
    written_by: str
    read_by: str
    reading: Reading
    reasons: tuple[str, ...] = ()


def start_reports(old: Definition, deployed: Sequence[Definition]) -> list[MessageReport]:
    """How the starts that clients of the old release have published are read by what is deployed."""
    before = shape_of(old)
    readers = [d for d in deployed if (d.start.topic, tag_of(d.start.event_type)) == _start_of(before)]
    if not readers:
        reason = f"nothing is started by it on {before.start_topic!r} any more"
        return [_report(before.start, _CLIENTS, _NEW, [reason])]
    newest = max(readers, key=lambda definition: definition.version)
    return [_compared(before.start, shape_of(newest).start, _CLIENTS, _NEW)]


def _start_of(shape: SagaShape) -> tuple[str, str]:
    return shape.start_topic, shape.start.tag


def message_reports(old: Definition, new: Definition) -> list[MessageReport]:
    """How the commands, answers and signals that one release writes are read by the other."""
    before, after = shape_of(old), shape_of(new)
    found: list[MessageReport] = []
    for was in before.steps:
        now = after.step(new.renames.get(was.name, was.name))
        if now is not None:
            found += _answers(was.replies, now.replies)
            found += _answers(was.undo_replies, now.undo_replies)
            found += _commands(was.command, now.command, now.participant)
            if was.undo is not None and now.undo is not None:
                found += _commands(was.undo, now.undo, now.participant)
    for wait in before.waits:
        found += _signals(wait, after, new.renames.get(wait.name, wait.name))
    return list(dict.fromkeys(found))


def _signals(was: WaitShape, after: SagaShape, name: str) -> Iterator[MessageReport]:
    """How signals are read that were published for a wait: by itself, or by another that takes the like."""
    own = after.wait(name)
    for signal in was.signals:
        waits = [own] if own is not None else after.waits
        readers = [read for wait in waits if wait.topic == was.topic for read in wait.signals if read.tag == signal.tag]
        if readers:
            yield _compared(signal, readers[0], _CLIENTS, _NEW)
        else:
            yield _report(signal, _CLIENTS, _NEW, [f"nothing waits for it on {was.topic!r} any more"])


def _answers(written: Sequence[MessageShape], read: Sequence[MessageShape]) -> Iterator[MessageReport]:
    expected = {message.tag: message for message in read}
    for message in written:
        known = expected.get(message.tag)
        if known is None:
            reasons = missing_replies([message], read)
            yield _report(message, "the old participants", _NEW, reasons)
        else:
            yield _compared(message, known, "the old participants", _NEW)


def _commands(was: MessageShape, now: MessageShape, participant: str) -> Iterator[MessageReport]:
    if was.tag != now.tag:
        reason = f"the old {participant} does not know {now.tag!r}: deploy {participant} first"
        yield _report(now, "the new orchestrator", f"the old {participant}", [reason])
        return
    yield _compared(was, now, "the old orchestrator", f"the new {participant}")
    yield _compared(now, was, "the new orchestrator", f"the old {participant}")


def _compared(written: MessageShape, read: MessageShape, writer: str, reader: str) -> MessageReport:
    return _report(written, writer, reader, message_problems(written, read), is_raised=is_upcast(written, read))


def _report(
    message: MessageShape, writer: str, reader: str, reasons: Sequence[str], *, is_raised: bool = False
) -> MessageReport:
    reading: Reading = "not at all" if reasons else "by an upcaster" if is_raised else "as it is"
    return MessageReport(tag=message.tag, written_by=writer, read_by=reader, reading=reading, reasons=tuple(reasons))
