"""Instances with a past: one input after the other, decided by the kernel itself."""

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import Action, Fire, Input, Operate, Reply, Signal, Start
from sagas.core.instance import Instance, Operation
from sagas.core.kernel import decide
from sagas.core.messages import Event, tag_of
from sagas.ports import JournalRow

NOW_MS = 1_760_000_000_000
STEP_MS = 10
"""Between two things that happen."""


class Past:
    """An instance in the making: each call is one input, `STEP_MS` after the one before."""

    def __init__(self, definition: Definition, key: str, data: object, *, started_ms: int = NOW_MS) -> None:
        self._definition = definition
        self._now_ms = started_ms - STEP_MS
        self._instance: Instance | None = None
        self.journal: list[JournalRow] = []
        self._take(Start(key=key, data=definition.encode_data(data)))

    @property
    def instance(self) -> Instance:
        """As it stands now."""
        assert self._instance is not None
        return self._instance

    def reply(self, step: str, reply: Event) -> "Past":
        """The participant of `step` answers its do."""
        return self._take(self._reply(step, reply, "do"))

    def undo_reply(self, step: str, reply: Event) -> "Past":
        """The participant of `step` answers its undo."""
        return self._take(self._reply(step, reply, "undo"))

    def signal(self, event: Event) -> "Past":
        """What a wait may wait for comes from outside."""
        return self._take(Signal(event_type=tag_of(type(event)), data=self._data(event)))

    def timeout(self, step: str) -> "Past":
        """No answer came in time."""
        record = self.instance.step(step)
        assert record is not None
        self._now_ms = record.sent_ms + self._definition.steps[step].timeout_ms - STEP_MS
        return self._take(Fire(kind="timeout", step=step, attempt=record.attempts))

    def operate(self, action: Action, reason: str) -> "Past":
        """Ann does it."""
        return self._take(Operate(action=action, who="ann", reason=reason, revision=self.instance.revision))

    def _reply(self, step: str, reply: Event, operation: Operation) -> Reply:
        return Reply(step=step, operation=operation, event_type=tag_of(type(reply)), data=self._data(reply))

    def _data(self, event: Event) -> bytes:
        fields = msgspec.structs.asdict(event)
        fields.pop(self._definition.key)
        return msgspec.json.encode(fields)

    def _take(self, message: Input) -> "Past":
        self._now_ms += STEP_MS
        decision = decide(self._definition, self._instance, message, self._now_ms)
        assert decision.instance is not None
        self._instance = decision.instance
        moves = decision.moves
        row = JournalRow(
            instance_id=decision.instance.id,
            revision=decision.instance.revision,
            at_ms=self._now_ms,
            verdict=decision.verdict,
            input=msgspec.msgpack.encode(message),
            triggers=tuple(move.trigger for move in moves),
            path=(moves[0].source, *(move.dest for move in moves)) if moves else (),
            note=decision.note,
        )
        self.journal.append(row)
        return self
