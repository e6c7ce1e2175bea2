"""The orchestrator's side of the search: the production `decide`, called once for each distinct question.

Theory of operation. A node is everything the orchestrator's database holds about the instance, in normal form
(`normal.py`). Nodes are numbered as they are met. `answers(node, event)` asks `decide` what follows, at a moment
soon and, where there are delays, at one long after, and remembers it. State, timers and commands are written in
one transaction, so a crash of the orchestrator is between two nodes and adds none: what it had not committed did
not happen, and the message is delivered again. (Switch `commits_first` off to see what that is worth.)

Each answer is looked at by itself: `decide` must not raise, must not find an honest message out of place, must
make only moves that are drawn, and must send the same command under the same id as before.
"""

from collections.abc import Iterator

import msgspec

from sagas.check.assumptions import Assumptions
from sagas.check.bounds import bounded
from sagas.check.events import ENGINE_REPLIES, Acted, Answer, Fired, OrchestratorEvent, Signalled, Time, Turned
from sagas.check.laws import Broken
from sagas.check.normal import LATE_MS, SOON_MS, Node, Normaliser, Sent, normal_timers
from sagas.check.oracle import Oracle
from sagas.check.samples import KEY, Samples
from sagas.core import kernel
from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import (
    ClearTimer,
    Decision,
    Fire,
    Input,
    Operate,
    Reply,
    Send,
    SetTimer,
    Signal,
    Start,
    TimerKind,
)
from sagas.core.envelope import encode_data
from sagas.core.instance import Instance, Operation, leaf_of
from sagas.core.messages import Event, Rejection


class Orchestrator:
    """The nodes met so far and the answers known. `definition` has its retries bounded."""

    def __init__(self, definition: Definition, samples: Samples, assumptions: Assumptions) -> None:
        self.oracle = Oracle()
        self.definition = self.oracle.instead_of_the_author(bounded(definition, assumptions.faults_max), samples)
        self.samples = samples
        self.assumptions = assumptions
        self.nodes: list[Node] = []
        self.taken: set[tuple[str, str, str]] = set()
        """The moves that were made: (trigger, source, dest)."""
        self.decided = 0
        self._normaliser = Normaliser(self.definition)
        self.has_ways = self._normaliser.has_ways
        self._is_promised = assumptions.is_promised
        self._replies: dict[Answer, Reply] = {}
        self._drawn = {(edge.trigger, edge.source, edge.dest) for edge in definition.edges}
        self._numbers: dict[bytes, int] = {}
        self._known: dict[tuple[int, OrchestratorEvent], tuple[Turned, ...]] = {}
        self._encoder = msgspec.msgpack.Encoder()

    # ----------------------------------------------------------------- asking

    def begin(self) -> tuple[Turned, ...]:
        """The first nodes: a start event of this saga was read."""
        start = self.definition.start
        data = self.definition.encode_data(start.fold(self.samples.of(start.event_type)))
        return tuple(self._every_way(None, Start(key=KEY, data=data), "soon"))

    def answers(self, node: int, event: OrchestratorEvent) -> tuple[Turned, ...]:
        """What `event` leads to in `node`: one answer, or two where it depends on how long it took."""
        known = self._known.get((node, event))
        if known is None:
            is_repeat = isinstance(event, Answer) and self._is_refused_again(self.nodes[node], event)
            known = self._known[node, event] = () if is_repeat else self._answers(self.nodes[node], event)
        return known

    def _is_refused_again(self, node: Node, answer: Answer) -> bool:
        """Whether it repeats a refusal, whose words the normal form does not keep: it changes nothing."""
        record = node.instance.step(answer.step) if answer.operation == "do" else None
        return record is not None and record.effect == "refused" and issubclass(self.reply_type(answer), Rejection)

    def _answers(self, node: Node, event: OrchestratorEvent) -> tuple[Turned, ...]:
        message = self.input_of(node, event)
        turns = list(self._every_way(node, message, "soon", event))
        if self.definition.delays:
            seen = {(turned.node, turned.broken) for turned in turns}
            late = self._every_way(node, message, "late", event)
            turns += [turned for turned in late if (turned.node, turned.broken) not in seen]
        if not self.assumptions.commits_first:
            turns += [self._crashed(node, turn) for turn in turns if turn.sent]
        return tuple(turns)

    def input_of(self, node: Node, event: OrchestratorEvent) -> Input:
        """The event as `decide` is given it."""
        match event:
            case Answer():
                return self.reply(event)
            case Fired():
                fire = msgspec.structs.replace(dict(node.timers)[event.timer], kind=event.kind)
                return self.taken_for(fire) or fire
            case Signalled():
                return self.signal(event)
            case Acted():
                return Operate(action=event.action, who="ann", reason="checked", revision=node.instance.revision)

    def kinds(self, node: Node, fire: Fire) -> tuple[TimerKind, ...]:
        """As what a timer may come due: whoever sends again may do so for ever, or have waited long enough."""
        may_time_out = (node.instance.state, f"{leaf_of(fire.step)}.timeout") in self.definition.table
        spec = self.definition.step_of(fire.step)
        if spec is not None and spec.each is not None and spec.unknown == "ask":
            record = node.instance.step(fire.step)
            may_time_out = record is not None and record.effect == "intended"
        is_either = fire.kind == "resend" and fire.operation == "do" and may_time_out
        return ("resend", "timeout") if is_either else (fire.kind,)

    def spec(self, step: str) -> StepSpec:
        """The step that a record or a command of this name belongs to."""
        spec = self.definition.step_of(step)
        assert spec is not None, f"no step {step!r} was sent"
        return spec

    def reply_type(self, answer: Answer) -> type[Event]:
        """The class of an answer."""
        engine = ENGINE_REPLIES.get(answer.tag)
        if engine is not None:
            return engine
        spec = self.spec(answer.step)
        replies = spec.undo.replies if answer.operation == "undo" and spec.undo is not None else spec.replies
        return replies[answer.tag]

    def signal_type(self, event: Signalled) -> type[Event]:
        """The class of a signal."""
        return next(w.signals[event.tag] for w in self.definition.waits.values() if w.takes(event.tag, event.topic))

    def signal(self, event: Signalled) -> Signal:
        """The signal as it arrives."""
        signal = self.samples.of(self.signal_type(event))
        return Signal(event_type=event.tag, data=encode_data(signal, self.definition.key), topic=event.topic)

    def reply(self, answer: Answer) -> Reply:
        """The answer as it arrives."""
        known = self._replies.get(answer)
        if known is None:
            known = self._replies[answer] = self._made(answer)
        return known

    def _made(self, answer: Answer) -> Reply:
        message = self.samples.of(self.reply_type(answer))
        is_interim = answer.tag in ENGINE_REPLIES
        return Reply(
            step=answer.step,
            operation=answer.operation,
            event_type=answer.tag,
            data=encode_data(message, self.definition.key),
            attempt=1 if is_interim else 0,
        )

    def taken_for(self, fire: Fire) -> Reply | None:
        """The reply that a timeout is taken for, where an orchestrator assumes one."""
        means = self.assumptions.timeout_means
        if fire.kind != "timeout" or means == "unknown":
            return None
        replies = self.spec(fire.step).replies.items()
        wanted = [tag for tag, reply in replies if issubclass(reply, Rejection) == (means == "refused")]
        return self.reply(Answer(fire.step, "do", wanted[0])) if wanted else None

    # ----------------------------------------------------------------- deciding

    def _every_way(
        self, node: Node | None, message: Input, time: Time, event: OrchestratorEvent | None = None
    ) -> Iterator[Turned]:
        """Ask, and ask again for every other answer that a predicate could give."""
        for choices, turned in self.oracle.every_way(lambda: self._ask(node, message, time, event)):
            yield turned._replace(choices=choices) if choices else turned

    def _ask(self, node: Node | None, message: Input, time: Time, event: OrchestratorEvent | None = None) -> Turned:
        self.decided += 1
        instance = None if node is None else node.instance
        try:
            decision = kernel.decide(self.definition, instance, message, SOON_MS if time == "soon" else LATE_MS)
        except Exception as error:  # whatever it raises: `decide` is total, or it is broken
            broken = Broken("answered", f"decide raises {type(error).__name__}: {error}")
            return Turned(self._number(node) if node else 0, time, "violation", (), (), broken)
        assert decision.instance is not None
        timers = dict(node.timers) if node else {}
        if isinstance(event, Fired):
            timers.pop(event.timer, None)
        sent: dict[tuple[str, Operation], Sent] = {(s.step, s.operation): s for s in node.sent} if node else {}
        wrong = self._judged(decision, event) or self._kept(decision.instance, timers, decision, sent)
        after = Node(
            self._normaliser.instance(decision.instance, instance),
            normal_timers(decision.instance, timers),
            tuple(sorted(sent.values())),
        )
        moves = tuple((move.trigger, move.source, move.dest) for move in decision.moves)
        self.taken.update(moves)
        sends: tuple[tuple[str, Operation], ...] = tuple(
            (effect.step, effect.operation) for effect in decision.effects if isinstance(effect, Send)
        )
        return Turned(self._number(after), time, decision.verdict, moves, sends, wrong)

    def _kept(
        self,
        instance: Instance,
        timers: dict[str, Fire],
        decision: Decision,
        sent: dict[tuple[str, Operation], Sent],
    ) -> Broken | None:
        """Carry the effects out on `timers` and `sent`; what is wrong with them."""
        broken = None
        for effect in decision.effects:
            match effect:
                case SetTimer():
                    timers[effect.name] = effect.fire
                case ClearTimer():
                    timers.pop(effect.name, None)
                case Send():
                    body = effect.body
                    now = Sent(effect.step, effect.operation, effect.id, body)
                    before = sent.setdefault((effect.step, effect.operation), now)
                    broken = broken or (_difference(before, now) if self._is_promised else None)
        return broken

    def _judged(self, decision: Decision, event: OrchestratorEvent | None) -> Broken | None:
        # Where a promise is switched off a contradiction is only the sign of it: the search goes on to the harm.
        # An incident says that a person has spoken of the step before its participant did: it is kept.
        is_honest = self._is_promised and not (decision.instance and decision.instance.incident)
        if is_honest and isinstance(event, Answer | Signalled) and decision.verdict in ("violation", "early"):
            said = f"{event.tag}, said of {event.step} {event.operation}" if isinstance(event, Answer) else event.tag
            return Broken("answered", f"{said}, is taken for a {decision.verdict}: {decision.note}")
        for move in decision.moves:
            if (move.trigger, move.source, move.dest) not in self._drawn:
                return Broken("drawn", f"{move.trigger} went from {move.source} to {move.dest}, which is not drawn")
            if move.trigger.endswith(".broken"):
                return Broken("author", f"{decision.note or move.trigger}")
        return None

    def _crashed(self, node: Node, turn: Turned) -> Turned:
        """It published and died before it committed: the commands are out, and it knows nothing of them."""
        out = {(s.step, s.operation): s for s in (*self.nodes[turn.node].sent, *node.sent)}
        after = Node(node.instance, node.timers, tuple(sorted(out.values())))
        return Turned(self._number(after), turn.time, turn.verdict, (), turn.sent, None, is_crash=True)

    def _number(self, node: Node) -> int:
        key = self._encoder.encode(node)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
        return number


def _difference(before: Sent, now: Sent) -> Broken | None:
    what = f"{now.step} {now.operation} was sent again"
    if before.id != now.id:
        return Broken(
            "same",
            f"{what} under another id: a participant takes it for another command",
            now.step,
            operation=now.operation,
        )
    if before.body != now.body:
        asked = f"{before.body.decode()} before, {now.body.decode()} now"
        return Broken(
            "same",
            f"{what} and asks something else ({asked}): a participant refuses it",
            now.step,
            operation=now.operation,
        )
    return None
