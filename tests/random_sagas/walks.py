"""A run of a saga taken at random: messages repeated, reordered, late and lost, timers, signals, people; then calm.

Theory of operation. The rules that run in production decide, by the straight way and at length. What is around them
is played here, on its own and not by the checker's or the simulator's means. While it is rough anything may happen;
when it is calm everything is delivered, and a person helps. Then the run must come to an end at which what truly
stands outside is what its end says.
"""

from random import Random
from typing import Any

import msgspec

from sagas.check.courses import required
from sagas.core.definition import Definition
from sagas.core.effects import Action, CarryOver, ClearTimer, Input, Operate, Reply, Send, SetTimer, Signal, Start
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, Effect, Instance, Operation
from sagas.core.kernel import decide, decide_at_length
from sagas.core.messages import Event
from tests.random_sagas.outside import Broken, Outside

BEGINS_MS = 1_760_000_000_000
CALM_MAX = 400
"""Things that happen until a run has ended once it is calm."""

_OPERATIONS: tuple[Operation, ...] = ("do", "undo")
_HELP: tuple[Action, ...] = ("retry", "resolve-done", "resolve-undone")


class Walk:
    """One run under way; `told` is what has happened, line by line."""

    def __init__(self, definition: Definition, random: Random, begun: Event) -> None:
        self.definition = definition
        self.told: list[str] = []
        self._random = random
        self._outside = Outside(definition, random)
        self._now_ms = BEGINS_MS
        self._instance: Instance | None = None
        self._timers: dict[str, SetTimer] = {}
        self._answers: list[Reply] = []
        self._taken: list[Reply] = []
        self._read: set[tuple[str, Operation]] | None = None
        self._has_person = random.random() < 0.6
        data = definition.encode_data(definition.start.fold(begun))
        self._feed(Start(key=str(getattr(begun, definition.key)), data=data))

    @property
    def run(self) -> Instance:
        """As it stands."""
        assert self._instance is not None
        return self._instance

    def carry_over(self, definition: Definition) -> None:
        """Go on under another version; from then on an inbox drops what it knows, for that version need not read it."""
        old, self.definition, self._has_person = self.run, definition, False
        self._read = {(reply.step, reply.operation) for reply in self._taken if not reply.attempt}
        self._outside.forget_order()
        if self._feed(CarryOver(from_version=old.version, from_content=old.content)) != "advance":
            raise Broken("it is not carried over")

    # ----------------------------------------------------------------- deciding

    def _feed(self, message: Input) -> str:
        before, self._now_ms = self._instance, self._now_ms + 1
        decision = decide(self.definition, before, message, self._now_ms)
        if decision != decide_at_length(self.definition, before, message, self._now_ms):
            raise Broken(f"at length it is decided otherwise: {message}")
        self._instance = msgspec.msgpack.decode(msgspec.msgpack.encode(decision.instance), type=Instance)
        path = " → ".join((decision.moves[0].source, *(move.dest for move in decision.moves)) if decision.moves else ())
        self.told.append(f"{message}: {decision.verdict} {path} {decision.note}")
        sends = [effect for effect in decision.effects if isinstance(effect, Send)]
        for effect in decision.effects:
            if isinstance(effect, SetTimer):
                self._timers[effect.name] = effect
            elif isinstance(effect, ClearTimer):
                self._timers.pop(effect.name, None)
        for send in sends:
            spec = self.definition.step_of(send.step)
            assert spec is not None
            self._outside.send(send, spec)
        if self._read is not None and before is not None and before.is_stuck:
            self._read -= {(send.sent_as, send.operation) for send in sends}  # it may be answered once more
        return decision.verdict

    # ----------------------------------------------------------------- what can happen

    def rough(self, count: int) -> None:
        """So many things, of any kind; a run that has ended is not left alone at once."""
        for _ in range(count):
            if self.run.is_ended and self._random.random() < 0.5:
                return
            self._anything()

    def _anything(self) -> None:
        random, kind = self._random, self._random.random()
        places = self._outside.places.items()
        sent: list[tuple[str, Operation]] = [(name, operation) for name, its in places for operation in its.sent]
        if kind < 0.3:
            if sent:
                self._deliver(*random.choice(sent))
        elif kind < 0.65:
            if self._answers:
                # What is read already is read again less often than what is new.
                fresh = [reply for reply in self._answers if reply not in self._taken]
                self._take(random.choice(fresh if fresh and random.random() < 0.8 else self._answers))
        elif kind < 0.85:
            self._time_passes()
        elif kind < 0.92:
            self._signal()
        elif self._has_person:
            self._person()

    def _time_passes(self) -> None:
        """The next timer fires, or one until its patience is over, whatever the others do."""
        if self._random.random() < 0.5 or not self._timers:
            self._fire()
            return
        name = self._random.choice(list(self._timers))
        for _ in range(self._random.choice((1, 4))):
            if name in self._timers:
                self._fire(name)

    def _deliver(self, name: str, operation: Operation) -> None:
        reply = self._outside.deliver(name, operation)
        if reply is not None and reply not in self._answers:
            self._answers.append(reply)

    def _take(self, reply: Reply) -> None:
        is_known = self._read is not None and (reply.step, reply.operation) in self._read
        if reply.attempt or self._read is not None:
            self._answers.remove(reply)
        if is_known and not reply.attempt:
            return
        if self._read is not None and not reply.attempt:
            self._read.add((reply.step, reply.operation))
        self._taken.append(reply)
        if self._feed(reply) in ("violation", "early") and not self.run.incident:
            raise Broken(f"an honest answer is out of place: {self.told[-1]}")

    def _fire(self, name: str = "") -> bool:
        if not self._timers:
            return False
        due = min(self._timers.values(), key=lambda timer: timer.due_ms)
        if name and self._timers[name].fire.kind != "over":  # a delay is over when it is over
            due = self._timers[name]
        del self._timers[due.name]
        self._now_ms = max(self._now_ms, due.due_ms)
        self._feed(due.fire)
        return True

    def _signal(self) -> None:
        waits = [(tag, wait.topic) for wait in self.definition.waits.values() for tag in wait.signals]
        if waits:
            tag, topic = self._random.choice(waits)
            if self._feed(Signal(event_type=tag, data=b"{}", topic=topic)) in ("violation", "early"):
                raise Broken(f"an honest signal is out of place: {self.told[-1]}")

    def _person(self) -> None:
        if self.run.state == STUCK:
            self._help(self._random.choice(_HELP))
        elif self._random.random() < 0.1:
            self._feed(self._word("cancel"))

    def _word(self, action: Action) -> Operate:
        return Operate(action=action, who="ann", reason="r", revision=self.run.revision)

    def _help(self, action: Action) -> bool:
        """A person says only what is so, and sees to it that it stays so."""
        record = self.run.step(self.run.stuck_step)
        name = "" if record is None else record.sent_as or record.name
        place = self._outside.places.get(name)
        if place is not None and action == "resolve-done" and place.answer and not place.stands:
            return False
        message = self._word(action)
        if decide(self.definition, self.run, message, self._now_ms + 1).verdict != "advance":
            return False
        if place is not None and action == "resolve-done":
            self._outside.done_by_hand(name)
        elif place is not None and action == "resolve-undone":
            self._outside.undone_by_hand(name)
        self._feed(message)
        return True

    # ----------------------------------------------------------------- calm

    def calm(self) -> None:
        """To the end, and to what it says. Raises Broken."""
        self._outside.is_calm = True
        for turn in range(CALM_MAX):
            self._settle()
            if self.run.is_ended:
                break
            if self.run.state == STUCK:
                if not any(self._help(_HELP[(turn + number) % 3]) for number in range(3)):
                    raise Broken(f"nothing helps out of stuck: {self.run.reason}")
            elif not self._fire():
                raise Broken(f"it waits for ever in {self.run.state}")
        else:
            raise Broken(f"it comes to no end: {self.run.state}")
        if not self.run.incident:
            self._judge(self.run)

    def _settle(self) -> None:
        for name, place in list(self._outside.places.items()):
            for operation in _OPERATIONS:
                if operation in place.sent:
                    self._deliver(name, operation)
        for reply in list(self._answers):
            if reply in self._answers:
                self._take(reply)

    def _judge(self, run: Instance) -> None:
        records = {record.sent_as or record.name: record for record in run.steps}
        for name, place in self._outside.places.items():
            effect = records[name].effect
            if run.state in (COMPENSATED, REJECTED) and place.stands and not place.may_stand:
                raise Broken(f"it is {run.state}, and {name} stands")
            if run.state == COMPLETED and not place.may_stand and bool(place.stands) != (effect == "done"):
                raise Broken(f"it is completed, its ledger calls {name} {effect}, and it stands {place.stands} times")
        if run.state == COMPLETED and self._read is None:
            self._judge_course(run)
        # A renamed wait's timer keeps its name, and fires in vain.
        if self._timers and not self.definition.renames:
            raise Broken(f"it has ended, and its timers have not: {', '.join(self._timers)}")

    def _judge_course(self, run: Instance) -> None:
        for leaf, is_to_be_done in required(self.definition.course).items():
            spec = self.definition.steps.get(leaf)
            if spec is None or spec.each is not None:
                continue
            record = run.step(leaf)
            wanted: tuple[Effect, ...] = ("done",) if is_to_be_done else ("done", "refused", "unknown", "undone")
            if record is None or record.effect not in wanted:
                raise Broken(f"it is completed, and {leaf} is {'not even sent' if record is None else record.effect}")


def walk(module: Any, random: Random) -> Walk:
    """A walk that has just begun; `module` is a plan as it was loaded."""
    return Walk(module.saga.definition, random, module.Begun(k="k-1", n=random.randrange(16)))
