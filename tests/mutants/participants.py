"""Bugs of the participant kit: what the barrier is there for."""

from contextlib import contextmanager
from typing import Any

import msgspec

from sagas.core.envelope import Header
from sagas.core.ids import derived_id
from sagas.core.messages import Fault, tag_of
from sagas.ports import BarrierRow
from tests.mutants.mutant import Mutant, always

SERVICE = "sagas.runtime.participant:Service"
SOMETHING = f"{SERVICE}._is_there_something"
STORED = "sagas.store.participant:SqliteParticipantTransaction"


def _always_carried_out(original: Any) -> Any:
    def passed(self: Any, transaction: Any, incoming: Any, delivery: Any, now_ms: int) -> None:
        self._carry_out(transaction, delivery, now_ms)

    return passed


def _says_it_was_new(original: Any) -> Any:
    def remember(self: Any, row: BarrierRow, now_ms: int) -> bool:
        original(self, row, now_ms)
        return True

    return remember


def _forgetful(original: Any) -> Any:
    """Remembers only what took effect."""

    def remember(self: Any, row: BarrierRow, now_ms: int) -> bool:
        if row.answer and ("failed" in row.answer or "rejected" in row.answer):
            return True
        return bool(original(self, row, now_ms))

    return remember


def _blocks_nothing(original: Any) -> Any:
    def remember(self: Any, row: BarrierRow, now_ms: int) -> bool:
        return row.is_blocked or bool(original(self, row, now_ms))

    return remember


def _pending_is_nothing(original: Any) -> Any:
    """Takes an operation in progress for one that never began."""

    def is_there_something(self: Any, transaction: Any, delivery: Any, now_ms: int) -> bool:
        do = transaction.recall(delivery.instance_id, delivery.step, "do")
        if do is not None and not do.answer:
            return False
        return bool(original(self, transaction, delivery, now_ms))

    return is_there_something


def _answers_anew(original: Any) -> Any:
    def remembered(self: Any, delivery: Any, known: BarrierRow, now_ms: int) -> Any:
        row = original(self, delivery, known, now_ms)
        wire = msgspec.json.decode(row.payload)
        wire["timestamp"] = f"2025-01-01T00:00:00.{now_ms % 1000:03}Z"
        return msgspec.structs.replace(row, payload=msgspec.json.encode(wire))

    return remembered


def _answers_under_new_ids(original: Any) -> Any:
    def remembered(self: Any, delivery: Any, known: BarrierRow, now_ms: int) -> Any:
        row = original(self, delivery, known, now_ms)
        return msgspec.structs.replace(row, id=derived_id(delivery.command_id, "answer", str(now_ms)))

    return remembered


def _does_not_answer_again(original: Any) -> Any:
    def passed(self: Any, transaction: Any, incoming: Any, delivery: Any, now_ms: int) -> None:
        known = transaction.recall(delivery.instance_id, delivery.step, delivery.operation)
        if known is None or not known.answer:
            original(self, transaction, incoming, delivery, now_ms)

    return passed


def _settles_what_was_undone(original: Any) -> Any:
    def settle(self: Any, transaction: Any, ticket: Any, reply: Any, now_ms: int) -> bool:
        row = transaction.recall(ticket.instance_id, ticket.step, "do")
        if row is not None and row.is_blocked:
            transaction.amend(msgspec.structs.replace(row, is_blocked=False), now_ms)
        return bool(original(self, transaction, ticket, reply, now_ms))

    return settle


def _late_do_runs(original: Any) -> Any:
    """A do whose undo came first is carried out all the same."""

    def passed(self: Any, transaction: Any, incoming: Any, delivery: Any, now_ms: int) -> None:
        known = transaction.recall(delivery.instance_id, delivery.step, delivery.operation)
        if known is not None and known.is_blocked and delivery.operation == "do":
            transaction.add_outbox([self._reply(delivery, self._run(transaction, delivery), now_ms)])
            return
        original(self, transaction, incoming, delivery, now_ms)

    return passed


def _keeps_half(original: Any) -> Any:
    @contextmanager
    def savepoint(self: Any) -> Any:
        yield

    return savepoint


def _no_attempt(original: Any) -> Any:
    """Interim answers of all attempts have one id, so the second is taken for a repeat of the first."""

    def reply(self: Any, delivery: Any, said: Any, now_ms: int) -> Any:
        row = original(self, delivery, said, now_ms)
        if isinstance(said, Fault):
            message_id = derived_id(delivery.command_id, tag_of(Fault))
            return msgspec.structs.replace(row, id=message_id, headers={**row.headers, Header.ATTEMPT: ""})
        return row

    return reply


def _forgets_undos(original: Any) -> Any:
    def remember(self: Any, row: BarrierRow, now_ms: int) -> bool:
        return row.operation == "undo" or bool(original(self, row, now_ms))

    return remember


PARTICIPANT_MUTANTS = (
    Mutant(
        name="no barrier",
        replaced={
            f"{SERVICE}._pass": _always_carried_out,
            f"{STORED}.remember": _says_it_was_new,
        },
    ),
    Mutant(name="forgotten refusals", replaced={f"{STORED}.remember": _forgetful}),
    Mutant(name="an undo is not remembered", replaced={f"{STORED}.remember": _forgets_undos}),
    Mutant(name="undo unconditional", replaced={SOMETHING: always(True)}),
    Mutant(name="undo before do not remembered", replaced={f"{STORED}.remember": _blocks_nothing}),
    Mutant(name="do after its undo carried out", replaced={f"{SERVICE}._pass": _late_do_runs}),
    Mutant(name="undo passes over what is in progress", replaced={SOMETHING: _pending_is_nothing}),
    Mutant(name="answer not stored byte for byte", replaced={f"{SERVICE}._remembered": _answers_anew}),
    Mutant(name="answer id fresh each time", replaced={f"{SERVICE}._remembered": _answers_under_new_ids}),
    Mutant(name="a repeat is not answered", replaced={f"{SERVICE}._pass": _does_not_answer_again}),
    Mutant(
        name="settled after it was undone",
        replaced={f"{SERVICE}.settle": _settles_what_was_undone},
        test="tests/services/test_payments.py",
        why_not_simulated="the demo's bank also asks its own table, where the payment is called off",
    ),
    Mutant(
        name="what was forgotten is taken for never done",
        replaced={"sagas.runtime.participant:may_be_forgotten": always(False)},
        test="tests/services/test_forgotten.py",
        why_not_simulated="a simulated system lives for minutes, and nothing is forgotten before it is days old",
    ),
    Mutant(
        name="what is in progress is forgotten",
        replaced={"sagas.store.participant:_NEXT_OPERATIONS": lambda sql: sql.replace("answer <> ''", "1")},
        test="tests/services/test_forgotten.py",
        why_not_simulated="a simulated system lives for minutes, and nothing is forgotten before it is days old",
    ),
    Mutant(name="a failed handler's writes stay", replaced={f"{STORED}.savepoint": _keeps_half}),
    Mutant(name="faults of all attempts share an id", replaced={f"{SERVICE}._reply": _no_attempt}),
)
