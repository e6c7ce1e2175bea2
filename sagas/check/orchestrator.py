"""The orchestrator's side of the search: the production `decide`, called once for each distinct question.

Theory of operation. A node is everything the orchestrator's database holds about the instance, in normal form
(`normal.py`). Nodes are numbered as they are met. `answers(node, event)` asks `decide` what follows, at a moment
soon and at one long after where the two can differ, and remembers it. State, timers and commands are written in
one transaction, so a crash of the orchestrator is between two nodes and adds none: what it had not committed did
not happen, and the message is delivered again. (Switch `commits_first` off to see what that is worth.)

Each answer is looked at by itself: `decide` must not raise, must not find an honest message out of place, must
make only moves that are drawn, and must send the same command under the same id as before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

import msgspec

from sagas.check.assumptions import Assumptions
from sagas.check.laws import Broken
from sagas.check.normal import LATE_MS, SOON_MS, Node, Sent, normal, normal_timers
from sagas.check.samples import KEY, Samples
from sagas.core import kernel
from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import Action, ClearTimer, Decision, Fire, Input, Operate, Reply, Send, SetTimer, Start, Verdict
from sagas.core.envelope import encode_data
from sagas.core.instance import ENDS, STUCK, Instance, Operation
from sagas.core.messages import Event, Fault, InProgress, Rejection, Undeliverable, tag_of

ENGINE_REPLIES: Final[Mapping[str, type[Event]]] = {
    tag_of(reply): reply for reply in (Fault, InProgress, Undeliverable)
}


class Answer(NamedTuple):
    """A reply on its way to the instance: to which operation of which step, and its tag."""

    step: str
    operation: Operation
    tag: str


class Fired(NamedTuple):
    """The timer of this name comes due."""

    timer: str


class Acted(NamedTuple):
    """A person does this."""

    action: Action


OrchestratorEvent = Answer | Fired | Acted

Time = Literal["soon", "late"]


class Turned(NamedTuple):
    """What an event led to: the node after it, when it was decided, and which law it broke."""

    node: int
    time: Time
    verdict: Verdict
    moves: tuple[tuple[str, str, str], ...]
    sent: tuple[tuple[str, Operation], ...]
    broken: Broken | None = None
    is_crash: bool = False


class Orchestrator:
    """The nodes met so far and the answers known. `definition` has its retries bounded."""

    def __init__(self, definition: Definition, samples: Samples, assumptions: Assumptions) -> None:
        self.definition = bounded(definition, assumptions.faults_max)
        self.samples = samples
        self.assumptions = assumptions
        self.nodes: list[Node] = []
        self.taken: set[tuple[str, str, str]] = set()
        """The moves that were made: (trigger, source, dest)."""
        self.decided = 0
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
        return tuple(self._ask(None, Start(key=KEY, data=data), time) for time in ("soon",))

    def answers(self, node: int, event: OrchestratorEvent) -> tuple[Turned, ...]:
        """What `event` leads to in `node`: one answer, or two where it depends on how long it took."""
        known = self._known.get((node, event))
        if known is None:
            known = self._known[node, event] = self._answers(self.nodes[node], event)
        return known

    def _answers(self, node: Node, event: OrchestratorEvent) -> tuple[Turned, ...]:
        message = self.input_of(node, event)
        turns = [self._ask(node, message, "soon", event)]
        if isinstance(event, Fired) or _waits_shortly(node, self.nodes[turns[0].node]):
            late = self._ask(node, message, "late", event)
            if late.node != turns[0].node or late.broken != turns[0].broken:
                turns.append(late)
        if not self.assumptions.commits_first:
            turns += [self._crashed(node, turn) for turn in turns if turn.sent]
        return tuple(turns)

    def input_of(self, node: Node, event: OrchestratorEvent) -> Input:
        """The event as `decide` is given it."""
        match event:
            case Answer():
                return self.reply(event)
            case Fired():
                fire = dict(node.timers)[event.timer]
                return self.taken_for(fire) or fire
            case Acted():
                return Operate(action=event.action, who="ann", reason="checked", revision=node.instance.revision)

    def spec(self, step: str) -> StepSpec:
        """The step that a record or a command of this name belongs to."""
        return self.definition.steps[step]

    def reply_type(self, answer: Answer) -> type[Event]:
        """The class of an answer."""
        engine = ENGINE_REPLIES.get(answer.tag)
        if engine is not None:
            return engine
        spec = self.spec(answer.step)
        replies = spec.undo.replies if answer.operation == "undo" and spec.undo is not None else spec.replies
        return replies[answer.tag]

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
            normal(self.definition, decision.instance, instance),
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
                    body = encode_data(effect.command, self.definition.key)
                    now = Sent(effect.step, effect.operation, effect.id, body)
                    before = sent.setdefault((effect.step, effect.operation), now)
                    broken = broken or (_difference(before, now) if self._is_promised else None)
        return broken

    def _judged(self, decision: Decision, event: OrchestratorEvent | None) -> Broken | None:
        # Where a promise is switched off a contradiction is only the sign of it: the search goes on to the harm.
        # An incident says that a person has spoken of the step before its participant did: it is kept.
        is_honest = self._is_promised and not (decision.instance and decision.instance.incident)
        if is_honest and isinstance(event, Answer) and decision.verdict in ("violation", "early"):
            said = f"{event.tag}, said of {event.step} {event.operation}"
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


def _waits_shortly(before: Node, after: Node) -> bool:
    """Whether a timer was set by this decision that might have been another one later."""
    return after.timers != before.timers


def is_at_rest(node: Node) -> bool:
    """Whether the run has ended, or waits for a person."""
    return node.instance.state in ENDS or node.instance.state == STUCK


def bounded(definition: Definition, faults_max: int) -> Definition:
    """`definition` with retries bounded by `faults_max`, where they are bounded at all."""
    steps: dict[str, StepSpec] = {}
    for name, spec in definition.steps.items():
        attempts_max = min(spec.retry.attempts_max, faults_max)
        steps[name] = replace(spec, retry=msgspec.structs.replace(spec.retry, attempts_max=attempts_max))
    return replace(definition, steps=steps)
