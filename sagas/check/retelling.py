"""A course of the search run once more through the production `decide`, with real times and real attempts.

Theory of operation. The search works with normal forms. What it found is told of a real run, so the course is
gone through again: moments become times, a fault that used up the retries becomes as many faults as the
definition has, and after each event the real instance must have come to the state that the search saw. If it does
not, the abstraction was too coarse for this course, and the report says so instead of telling a story that is not true.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from sagas.check.events import Acted, Answer, Fired, Signalled, Turned
from sagas.check.moves import Course
from sagas.check.orchestrator import Orchestrator
from sagas.check.participant import FAULT, Delivery
from sagas.check.samples import KEY
from sagas.core import kernel
from sagas.core.definition import Definition
from sagas.core.effects import ClearTimer, Fire, Input, Operate, Reply, SetTimer, Start, Verdict
from sagas.core.instance import Instance, key_of, leaf_of
from sagas.core.messages import Event
from sagas.core.outcomes import YES

_SENDINGS_MAX = 100
"""Of one command, until its step's patience is over."""

_BEGINS_MS = 1_735_689_600_000

Kind = Literal["start", "deliver", "reply", "fire", "act", "signal", "away", "crash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that happened. `path` is the states gone through, empty where the instance stayed.

    `topic` is that of a signal which waits take from more than one.
    """

    kind: Kind
    step: str = ""
    operation: str = "do"
    delivery: Delivery | None = None
    reply: Event | None = None
    fire: Fire | None = None
    timer: str = ""
    action: str = ""
    seconds: float = 0
    verdict: Verdict = "advance"
    path: tuple[str, ...] = ()
    note: str = ""
    raised: str = ""
    topic: str = ""


@dataclass(slots=True)
class Retelling:
    """A run in real terms. `is_true`: it came through the states that the search saw."""

    definition: Definition
    orchestrator: Orchestrator
    now_ms: int = _BEGINS_MS
    instance: Instance | None = None
    timers: dict[str, SetTimer] = field(default_factory=dict[str, SetTimer])
    told: list[Told] = field(default_factory=list[Told])
    is_true: bool = True

    def run(self, courses: Sequence[Course]) -> list[Told]:
        """Everything that happens, in order. The author's functions answer as they did in the search."""
        self.definition = self.orchestrator.oracle.instead_of_the_author(self.definition, self.orchestrator.samples)
        first = courses[0].turned if courses and courses[0].event is None else None
        self.orchestrator.oracle.tell(first.choices if first is not None else ())
        start = self.orchestrator.samples.of(self.definition.start.event_type)
        data = self.definition.encode_data(self.definition.start.fold(start))
        self._feed(Start(key=KEY, data=data), Told(kind="start", reply=start))
        if first is not None:
            self._compare(first)
        for course in courses:
            self.told += [
                Told(kind="deliver", step=d.step, operation=d.operation, delivery=d) for d in course.deliveries
            ]
            if course.turned is not None and course.event is not None:
                self._event(course)
        return self.told

    @property
    def lists(self) -> dict[str, list[tuple[str, Any]]]:
        """What the run's fan-outs have listed: step → keys and items."""
        if self.instance is None:
            return {}
        items: dict[str, list[tuple[str, Any]]] = {
            step: [] for step, _ in self.instance.marks if step in self.definition.steps
        }
        for name, item in self.instance.items:
            each = self.orchestrator.spec(name).each
            assert each is not None
            items[leaf_of(name)].append((key_of(name), msgspec.json.decode(item, type=each.item_type)))
        return items

    @property
    def choices(self) -> dict[str, bool]:
        """What the run's decisions have come to: predicate → whether it said yes."""
        marks = self.instance.marks if self.instance is not None else ()
        return {name: word == YES for name, word in marks if name in self.definition.choices}

    def _event(self, course: Course) -> None:
        turned, event = course.turned, course.event
        assert turned is not None
        if turned.time == "late":
            self._wait()
        self.orchestrator.oracle.tell(turned.choices)
        if turned.is_crash:
            self.told += [Told(kind="crash", step=step, operation=operation) for step, operation in turned.sent]
            return
        match event:
            case Answer():
                self._answer(event, course)
            case Fired():
                self._fire(event)
            case Acted():
                self._act(event)
            case Signalled():
                signal = self.orchestrator.samples.of(self.orchestrator.signal_type(event))
                topics = self.definition.topics_of(event.tag)
                told = Told(kind="signal", reply=signal, topic=event.topic if len(topics) > 1 else "")
                self._feed(self.orchestrator.signal(event), told)
            case None:
                pass
        self._compare(turned)

    def _compare(self, turned: Turned) -> None:
        if not turned.broken and self.instance is not None:
            seen = self.orchestrator.nodes[turned.node].instance
            effects = {(record.name, record.effect) for record in self.instance.steps}
            is_same = self.instance.state == seen.state and effects == {(r.name, r.effect) for r in seen.steps}
            self.is_true = self.is_true and is_same

    def _wait(self) -> None:
        longest = max(spec.timeout_ms for spec in self.definition.steps.values())
        self.now_ms += longest
        self.told.append(Told(kind="away", seconds=longest / 1000))

    # ----------------------------------------------------------------- one event

    def _answer(self, answer: Answer, course: Course) -> None:
        reply = self.orchestrator.samples.of(self.orchestrator.reply_type(answer))
        told = Told(kind="reply", step=answer.step, operation=answer.operation, reply=reply)
        self._feed(self._latest(self.orchestrator.reply(answer)), told)
        if answer.tag != FAULT or course.turned is None:
            return
        wanted = self.orchestrator.nodes[course.turned.node].instance.state
        for _ in self._retries(answer.step):
            if self.instance is None or self.instance.state == wanted or answer.step not in self.timers:
                return
            self._feed_timer(answer.step)
            self._feed(self._latest(self.orchestrator.reply(answer)), told)

    def _retries(self, step: str) -> Iterator[int]:
        spec = self.definition.step_of(step)
        return iter(range(spec.retry.attempts_max if spec is not None else 0))

    def _latest(self, reply: Reply) -> Reply:
        if not reply.attempt or self.instance is None:
            return reply
        record = self.instance.step(reply.step)
        latest = 0 if record is None else record.undo_attempts if reply.operation == "undo" else record.attempts
        return Reply(
            step=reply.step, operation=reply.operation, event_type=reply.event_type, data=reply.data, attempt=latest
        )

    def _fire(self, event: Fired) -> None:
        for _ in range(_SENDINGS_MAX):
            due = self.timers.get(event.timer)
            if due is None or event.kind == "resend" or due.fire.kind == event.kind:
                break
            self._feed_timer(event.timer, is_told=False)
        if event.timer not in self.timers:
            self.is_true = False
            return
        taken_for = self.orchestrator.taken_for(self.timers[event.timer].fire)
        if taken_for is None:
            self._feed_timer(event.timer)
            return
        del self.timers[event.timer]
        answer = Answer(taken_for.step, "do", taken_for.event_type)
        reply = self.orchestrator.samples.of(self.orchestrator.reply_type(answer))
        self._feed(taken_for, Told(kind="reply", step=taken_for.step, reply=reply, timer=event.timer))

    def _feed_timer(self, timer: str, *, is_told: bool = True) -> None:
        due = self.timers.pop(timer)
        self.now_ms = max(self.now_ms, due.due_ms - 1)
        told = Told(kind="fire", timer=timer, fire=due.fire, step=due.fire.step)
        self._feed(due.fire, told)
        if not is_told and not self.told[-1].raised:
            self.told.pop()  # a repeat on the way to what is told

    def _act(self, event: Acted) -> None:
        assert self.instance is not None
        message = Operate(action=event.action, who="ann", reason="checked", revision=self.instance.revision)
        self._feed(message, Told(kind="act", action=event.action, step=self.instance.stuck_step))

    def _feed(self, message: Input, told: Told) -> None:
        self.now_ms += 1
        try:
            decision = kernel.decide(self.definition, self.instance, message, self.now_ms)
        except Exception as error:  # what it raises is what is told
            self.told.append(replace(told, raised=f"{type(error).__name__}: {error}"))
            return
        self.instance = decision.instance
        for effect in decision.effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.name] = effect
            elif isinstance(effect, ClearTimer):
                self.timers.pop(effect.name, None)
        path = (decision.moves[0].source, *(move.dest for move in decision.moves)) if decision.moves else ()
        self.told.append(replace(told, verdict=decision.verdict, path=path, note=decision.note))
