"""What must hold of the messages of every run: nothing lost, nothing made up, nothing said in two ways."""

from collections.abc import Callable, Iterator

import msgspec

from sagas.core.envelope import Header
from sagas.core.instance import Operation
from sagas.core.messages import CannotUndo
from sagas.ports import DeadLetter, ParticipantStore, Store
from sagas.testing.simulation.evidence import Evidence
from sagas.testing.simulation.history import Violation, row_key

DEAD_LETTERS_MAX = 10_000


def nothing_is_published_that_was_not_committed(evidence: Evidence) -> Iterator[Violation]:
    """What an engine's process published stands in an outbox, committed before."""
    for appended in evidence.history.appended:
        if appended.source != "client" and row_key(appended.message) not in evidence.history.committed:
            what = f"{appended.source} published {appended.message.id} and never committed it"
            yield Violation("commit before publish", what, appended.message.key)


def everything_committed_is_published(evidence: Evidence) -> Iterator[Violation]:
    """Every row of an outbox reached the broker at least once."""
    reached = {row_key(appended.message) for appended in evidence.history.appended}
    for key, row in evidence.history.committed.items():
        if key not in reached:
            what = f"{row.event_type} {row.id} was committed and never published"
            yield Violation("publish what is committed", what, row.key)


def commands_keep_their_order(evidence: Evidence) -> Iterator[Violation]:
    """Within a topic, the commands of a run come in the order in which they were decided."""
    decided: dict[tuple[str, str], list[str]] = {}
    for row in evidence.history.committed.values():
        if row.headers.get(Header.ATTEMPT) and Header.COMMAND not in row.headers:
            decided.setdefault((row.topic, row.headers[Header.INSTANCE]), []).append(row.id)
    arrived: dict[tuple[str, str], list[str]] = {}
    for appended in evidence.history.appended:
        message = appended.message
        arrived.setdefault((message.topic, message.headers.get(Header.INSTANCE, "")), []).append(message.id)
    for (topic, instance_id), ids in decided.items():
        wanted = list(dict.fromkeys(ids))
        found = [i for i in dict.fromkeys(arrived.get((topic, instance_id), [])) if i in wanted]
        if found != wanted[: len(found)] and not evidence.faults.message_lost:
            yield Violation(
                "order", f"commands came to {topic} in another order than decided", _key(evidence, instance_id)
            )


def _key(evidence: Evidence, instance_id: str) -> str:
    instance = evidence.by_id.get(instance_id)
    return instance.key if instance is not None else ""


def an_id_says_one_thing(evidence: Evidence) -> Iterator[Violation]:
    """Definite answers of one id are the same bytes; all else of one id (it has an attempt) says the same."""
    said: dict[str, bytes] = {}
    for appended in evidence.history.appended:
        message = appended.message
        body = _said(message.payload) if message.headers.get(Header.ATTEMPT) else message.payload
        if said.setdefault(message.id, body) != body:
            yield Violation("one id, one message", f"{message.id} in {message.topic} says two things", message.key)


def an_operation_has_one_id(evidence: Evidence) -> Iterator[Violation]:
    """However often a command is sent, or its definite answer given, it has the same id."""
    known: dict[tuple[str, ...], str] = {}
    for row in evidence.history.committed.values():
        is_answer, is_definite = Header.COMMAND in row.headers, not row.headers.get(Header.ATTEMPT)
        if Header.INSTANCE not in row.headers or (is_answer and not is_definite):
            continue
        operation = (
            str(is_answer),
            *(row.headers.get(h, "") for h in (Header.INSTANCE, Header.STEP, Header.OPERATION)),
        )
        if known.setdefault(operation, row.id) != row.id:
            yield Violation("one operation, one id", f"{row.event_type} went out under {row.id} too", row.key)


class _Body(msgspec.Struct):
    event_type: str
    data: msgspec.Raw


def _said(payload: bytes) -> bytes:
    body = msgspec.json.decode(payload, type=_Body)
    return body.event_type.encode() + b" " + bytes(body.data)


def every_message_is_answered_for(evidence: Evidence) -> Iterator[Violation]:
    """What is in a topic was dealt with: it stands in the inbox or behind the barrier, or began a run.

    None is a dead letter.
    """
    yield from _dead_letters(evidence)
    yield from unanswered(evidence)


def unanswered(evidence: Evidence) -> Iterator[Violation]:
    """Messages in a topic that nobody has dealt with."""
    if evidence.faults.forgets_ms:
        return  # a broker that gives offsets again can make a reader pass over a message; sending again heals
    yield from _unread_by_orchestrator(evidence)
    yield from _unread_by_participants(evidence)
    yield from _not_kept(evidence)


def _dead_letters(evidence: Evidence) -> Iterator[Violation]:
    for name, letter in _letters(evidence):
        if letter.message_id not in evidence.poison:
            yield Violation("dead letters", f"{name} buried {letter.message_id} of {letter.topic}: {letter.reason}")
    if not evidence.faults.forgets_ms:
        yield from _not_kept(evidence)


def _not_kept(evidence: Evidence) -> Iterator[Violation]:
    buried = {letter.message_id for _, letter in _letters(evidence)}
    for message_id in sorted(evidence.poison - buried):
        yield Violation("dead letters", f"{message_id} cannot be read and was not kept")


def _letters(evidence: Evidence) -> Iterator[tuple[str, DeadLetter]]:
    stores: list[tuple[str, Store | ParticipantStore]] = [("orchestrator", evidence.store), *evidence.stores.items()]
    for name, store in stores:
        for letter in store.dead_letters(DEAD_LETTERS_MAX):
            yield name, letter


def _unread_by_orchestrator(evidence: Evidence) -> Iterator[Violation]:
    topics = {topic for definition in evidence.subject.definitions for topic in definition.topics}
    there = {a.message.id: a.message for a in evidence.first_there.values() if a.message.topic in topics}
    with evidence.store.transaction() as transaction:
        known = transaction.seen(list(there)) | {instance.begun_by for instance in evidence.instances}
        known |= {letter.message_id for letter in evidence.store.dead_letters(DEAD_LETTERS_MAX)}
        parked = {row.message_id for row in transaction.parked_for([i.id for i in evidence.instances])}
    for message_id, message in there.items():
        if message_id not in known and message_id not in parked:
            yield Violation("answered for", f"{message_id} of {message.topic} was never dealt with", message.key)


def _unread_by_participants(evidence: Evidence) -> Iterator[Violation]:
    unable = _undos_that_cannot_be(evidence)
    for name, store in evidence.stores.items():
        commands = f"{name}-commands"
        with store.transaction() as transaction:
            for appended in evidence.first_there.values():
                headers = appended.message.headers
                if appended.message.topic != commands or not headers:
                    continue
                operation: Operation = "undo" if headers[Header.OPERATION] == "undo" else "do"
                is_known = transaction.recall(headers[Header.INSTANCE], headers[Header.STEP], operation) is not None
                if not is_known and appended.message.id not in unable:
                    what = f"{name} never dealt with {headers[Header.STEP]} {operation}"
                    yield Violation("answered for", what, appended.message.key)


def _undos_that_cannot_be(evidence: Evidence) -> set[str]:
    """The ids of undos that were answered so: that is not remembered, for it may be otherwise when they come again."""
    undos = (s.undo for d in evidence.subject.definitions for s in d.steps.values() if s.undo is not None)
    tags = {tag for undo in undos for tag, reply in undo.replies.items() if issubclass(reply, CannotUndo)}
    answers = (row for row in evidence.history.committed.values() if row.event_type in tags)
    return {row.headers[Header.COMMAND] for row in answers if Header.COMMAND in row.headers}


MESSAGE_CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    nothing_is_published_that_was_not_committed,
    everything_committed_is_published,
    commands_keep_their_order,
    an_id_says_one_thing,
    an_operation_has_one_id,
    every_message_is_answered_for,
)
