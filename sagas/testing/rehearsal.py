"""One run of a saga in virtual time: `decide` with everything around it played, and nothing else running.

Theory of operation. What production does with an input is done here too, without a broker or a
database: a message is encoded and decoded by the real envelope, the instance and each input pass
through JSON, the effects are carried out (a command is laid down in `unread`, a timer is set or
cleared), and time moves only when it is told to. So a field that does not survive the wire, or data
that cannot be read back, is found by a story and not by a customer.
"""

from typing import Any, cast

import msgspec

from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import (
    Action,
    ClearTimer,
    Fire,
    Input,
    Operate,
    Reply,
    Send,
    SetTimer,
    Signal,
    Start,
    TimerKind,
    Verdict,
)
from sagas.core.envelope import Envelope, Undecodable, decode_data, decode_envelope, encode_message
from sagas.core.ids import derived_id
from sagas.core.instance import Instance, Operation
from sagas.core.kernel import decide
from sagas.core.messages import Command, Event, Message, tag_of

BEGINS_MS = 1_735_689_600_000
"""When every story begins: 2025-01-01T00:00:00Z. Ids carry the time, so a fixed one makes them repeatable."""

FIRED_MAX = 10_000
"""Timers that one `advance` fires before it is called endless: a day of a run resending every ten seconds."""

_SHOWN_MAX = 200
_FIRST_LINES = 20
_LAST_LINES = 40

_START_MESSAGE_ID = "00000000-0000-7000-8000-000000000000"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A command as it left: `command` is decoded again from its payload."""

    id: str
    topic: str
    step: str
    operation: Operation
    attempt: int
    command: Command[Any]

    def __str__(self) -> str:
        return f"{self.step} {self.operation} #{self.attempt} → {self.topic}: {_shown(self.command)}"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened at one moment: the input in words, how it stood to the run, the states and moves gone through."""

    at_ms: int
    what: str
    verdict: Verdict
    path: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    note: str = ""
    sent: tuple[Sent, ...] = ()


class Rehearsal:
    """A run in the making. `now_ms` is its time, `unread` what it sent and nobody has looked at yet."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.now_ms = BEGINS_MS
        self.unread: list[Sent] = []
        self.journal: list[Entry] = []
        self.timers: dict[str, SetTimer] = {}
        self.last_answer: tuple[str, Operation, Event] | None = None
        self._instance: Instance | None = None

    @property
    def instance(self) -> Instance:
        """The run as it stands. Raises AssertionError before it was started."""
        if self._instance is None:
            raise AssertionError("the story has no beginning: say story.given(data) or story.start_event(event) first")
        return self._instance

    # ----------------------------------------------------------------- what can happen

    def start(self, data: object) -> None:
        """Begin with the saga's own data, as if its start event had just been folded."""
        key = str(getattr(data, self.definition.key))
        self._feed(Start(key=key, data=self.definition.encode_data(data)), f"start with {_shown(data)}")

    def start_by(self, event: Event) -> None:
        """Begin with the event that starts the saga, through its own start function."""
        wanted = self.definition.start.event_type
        if type(event) is not wanted:
            raise AssertionError(f"saga {self.definition.name!r} is started by {wanted.__name__}, not {_shown(event)}")
        key = str(getattr(event, self.definition.key))
        read = self._carried(event, _START_MESSAGE_ID, key)[1]
        data = self.definition.encode_data(self.definition.start.fold(read))
        self._feed(Start(key=key, data=data), f"start by {_shown(event)}")

    def answer(self, step: str, operation: Operation, reply: Event) -> Entry:
        """Let a participant answer one operation of a step."""
        key = self._own_key(reply, "reply")
        self.last_answer = (step, operation, reply)
        message_id = derived_id(self.instance.id, step, operation, "answer")
        envelope, _ = self._carried(reply, message_id, key)
        message = Reply(step=step, operation=operation, event_type=envelope.event_type, data=envelope.data)
        return self._feed(message, f"{step} {operation} is answered: {_shown(reply)}")

    def advance(self, duration_ms: int) -> None:
        """Let time pass: the timers that come due fire in the order of their times, each at its own."""
        until_ms = self.now_ms + duration_ms
        for _ in range(FIRED_MAX):
            due = min(self.timers.values(), key=lambda timer: timer.due_ms, default=None)
            if due is None or due.due_ms > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = max(self.now_ms, due.due_ms)
            del self.timers[due.name]
            fire = due.fire
            self._feed(fire, f"timer: {_timer_words(fire)}")
        raise AssertionError(
            self.picture(f"more than {FIRED_MAX} timers fired in {duration_ms / 1000:.1f} s: it is endless")
        )

    def fire(self, timer: str, kind: TimerKind | None = None) -> None:
        """Let one timer fire, whatever the others do and however long it had yet to go. No such timer: nothing.

        With `kind`: let it fire until one of that kind has.
        """
        for _ in range(FIRED_MAX):
            due = self.timers.pop(timer, None)
            if due is None:
                return
            self.now_ms = max(self.now_ms + 1, due.due_ms)
            self._feed(due.fire, f"timer: {_timer_words(due.fire)}")
            if kind is None or due.fire.kind == kind:
                return

    def signal(self, signal: Event, topic: str) -> None:
        """Let an event from outside arrive on this topic; "" where only one is waited for."""
        tag, key = tag_of(type(signal)), self._own_key(signal, "signal")
        topics = (topic,) if topic else self.definition.topics_of(tag)
        if len(topics) > 1:
            where = " and ".join(map(repr, topics))
            raise AssertionError(f"{_shown(signal)} is waited for on {where}: say which, `on=…`")
        envelope, _ = self._carried(signal, derived_id(self.instance.id, tag), key)
        message = Signal(event_type=envelope.event_type, data=envelope.data, topic=topics[0] if topics else "")
        self._feed(message, f"signal {_shown(signal)}")

    def operate(self, action: Action, who: str, reason: str) -> None:
        """Let a person do something with the run as it stands."""
        message = Operate(action=action, who=who, reason=reason, revision=self.instance.revision)
        self._feed(message, f"{who}: {action}")

    # ----------------------------------------------------------------- how it is carried out

    def _own_key(self, message: Event, what: str) -> str:
        """The run's key. Raises AssertionError for a message with another: it would come to another run."""
        own = self.instance.key
        key = str(getattr(message, self.definition.key, own))
        if key != own:
            raise AssertionError(f"the story is about {own!r}, the {what} about {key!r}: {_shown(message)}")
        return key

    def _feed(self, message: Input, what: str) -> Entry:
        read: Input = msgspec.json.decode(msgspec.json.encode(message), type=Input)
        decision = decide(self.definition, self._instance, read, self.now_ms)
        assert decision.instance is not None
        self._instance = msgspec.json.decode(msgspec.json.encode(decision.instance), type=Instance)
        sent: list[Sent] = []
        for effect in decision.effects:
            match effect:
                case Send():
                    sent.append(self._sent(effect))
                case SetTimer():
                    self.timers[effect.name] = effect
                case ClearTimer():
                    self.timers.pop(effect.name, None)
        path = (decision.moves[0].source, *(move.dest for move in decision.moves)) if decision.moves else ()
        entry = Entry(
            at_ms=self.now_ms,
            what=what,
            verdict=decision.verdict,
            path=path,
            triggers=tuple(move.trigger for move in decision.moves),
            note=decision.note,
            sent=tuple(sent),
        )
        self.journal.append(entry)
        self.unread += sent
        return entry

    def _sent(self, send: Send) -> Sent:
        read = self._carried(send.command, send.id, self.instance.key)[1]
        return Sent(
            id=send.id,
            topic=send.topic,
            step=send.step,
            operation=send.operation,
            attempt=send.attempt,
            command=cast("Command[Any]", read),
        )

    def _carried(self, message: Message, message_id: str, key: str) -> tuple[Envelope, Message]:
        """What arrives of `message`: its envelope, and the message read from it."""
        field = self.definition.key
        payload = encode_message(message, message_id=message_id, key_field=field, key=key, now_ms=self.now_ms)
        envelope = decode_envelope(payload, field)
        read = envelope if isinstance(envelope, Undecodable) else decode_data(type(message), field, key, envelope.data)
        if isinstance(envelope, Undecodable) or isinstance(read, Undecodable):
            reason = read.reason if isinstance(read, Undecodable) else ""
            raise AssertionError(  # noqa: TRY004 - a story that cannot go on is a test that fails
                f"{_shown(message)} cannot be read where it is sent to: {reason}"
            )
        return envelope, read

    # ----------------------------------------------------------------- in words

    def picture(self, problem: str) -> str:
        """`problem`, and everything one needs to see what went on."""
        lines = [problem, ""]
        if self._instance is not None:
            lines.append(f"state: {self._instance.state}, {self._seconds(self.now_ms)} after the start")
            lines += [f"{word}: {text}" for word, text in self._whys(self._instance) if text]
            lines += self._list("sent and not looked at yet", [str(sent) for sent in self.unread])
            lines += self._list(
                "timers", [f"{self._seconds(t.due_ms)}  {_timer_words(t.fire)}" for t in self._by_time()]
            )
        lines += self._list("the story so far", [line for entry in self.journal for line in self._entry_lines(entry)])
        return "\n".join(lines)

    def _by_time(self) -> list[SetTimer]:
        return sorted(self.timers.values(), key=lambda timer: timer.due_ms)

    def _entry_lines(self, entry: Entry) -> list[str]:
        went = " → ".join(entry.path) or "stays"
        note = f" ({entry.note})" if entry.note else ""
        first = f"{self._seconds(entry.at_ms)}  {entry.what}"
        return [first, f"           {entry.verdict}{note}: {went}", *(f"           sent {sent}" for sent in entry.sent)]

    def _seconds(self, at_ms: int) -> str:
        return f"{(at_ms - BEGINS_MS) / 1000:7.3f} s"

    @staticmethod
    def _whys(instance: Instance) -> tuple[tuple[str, str], ...]:
        return ("cause", instance.cause), ("reason", instance.reason)

    @staticmethod
    def _list(title: str, lines: list[str]) -> list[str]:
        if len(lines) > _FIRST_LINES + _LAST_LINES:
            # A run that resends for a day has thousands: what began it and what came last say enough.
            left_out = f"… {len(lines) - _FIRST_LINES - _LAST_LINES} lines left out …"
            lines = [*lines[:_FIRST_LINES], left_out, *lines[-_LAST_LINES:]]
        return [f"{title}:", *(f"  {line}" for line in lines)] if lines else [f"{title}: nothing"]


def step_operation(spec: StepSpec, reply: Event) -> Operation:
    """Which operation of the step `reply` answers; "do" for one that answers neither."""
    return "undo" if spec.undo is not None and tag_of(type(reply)) in spec.undo.replies else "do"


def _timer_words(fire: Fire) -> str:
    return f"{fire.kind} of {fire.step} {fire.operation} #{fire.attempt}" if fire.step else f"{fire.kind} of the saga"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
