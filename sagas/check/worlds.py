"""What can follow in a world, line by line: everything that depends on the orchestrator and one participant only.

Theory of operation. A world is a node of the orchestrator and one local state a step (a *line*). What can happen
in it is either the orchestrator's own (a timer, a person) or one line's: something is delivered there, or one of
its replies reaches the instance. What a line can do depends on the node and on that line's local state, on no other
line, so it is worked out once for each such pair (`Entry`) and looked up ever after.

Deliveries to different participants commute, and none of them changes the orchestrator. So the reduced search does
not take them one by one: a delivery is put off until the reply that it leads to is read, and both make one move.
The local states that lie between (`reach`) are looked at for every law as if they had been visited, together
with those of the other lines, since they are independent. A local state from which nothing would ever be read is made
a world of its own, so that a run that hangs there is seen. `tests/check/test_reduction.py` compares this with the
full search, which takes every delivery by itself.
"""

from sagas.check.courses import required
from sagas.check.events import ENGINE_REPLIES, Acted, Answer, Fired, OrchestratorEvent, Signalled
from sagas.check.laws import Broken
from sagas.check.line_moves import LineMoves
from sagas.check.moves import LOCAL_MASK, NODE_MASK, Course, Entry, Fault, Line, Move, Row
from sagas.check.orchestrator import Orchestrator
from sagas.core.course import BACKWARD, Place
from sagas.core.instance import ABANDONED, COMPLETED, ENDS, STUCK, Effect, Instance, StepRecord


class Worlds:
    """The moves of every world, made as they are asked for. `is_full`: every delivery is a move of its own."""

    def __init__(self, orchestrator: Orchestrator, *, is_full: bool = False) -> None:
        self.orchestrator = orchestrator
        self.is_full = is_full
        self.lines: dict[str, Line] = {}
        self._rows: dict[int, Row] = {}
        self._kept: dict[tuple[int, int, int], int] = {}

    # ----------------------------------------------------------------- the orchestrator's own moves

    def row(self, node: int) -> Row:
        """What is known of a node."""
        row = self._rows.get(node)
        if row is None:
            row = self._rows[node] = self._make_row(node)
        return row

    def _make_row(self, number: int) -> Row:
        node = self.orchestrator.nodes[number]
        state = node.instance.state
        if state == ABANDONED:
            return Row([])  # nothing more is promised of it
        row = Row([self._line(step) for step in dict.fromkeys(sent.step for sent in node.sent)])
        row.is_ended, row.is_stuck = state in ENDS, state == STUCK
        for name, fire in node.timers:
            for kind in self.orchestrator.kinds(node, fire):
                self._add(row.moves, row.faults, number, Fired(name, kind))
        if not row.is_ended:
            self._add(row.acts, row.faults, number, Acted("cancel"))
            # What is abandoned rests as it is: nothing more is promised, and nothing more is looked at.
            self._add([], row.faults, number, Acted("abandon"))
        if not row.is_ended:
            waits = self.orchestrator.definition.waits.values()
            for signalled in dict.fromkeys(Signalled(tag, wait.topic) for wait in waits for tag in wait.signals):
                self._add(row.moves, row.faults, number, signalled)
        if row.is_stuck:
            self._add(row.acts, row.faults, number, Acted("retry"))
            if node.instance.stuck_step not in self.lines:
                # It waits for a signal or an outcome that has nothing outside: a person says what it came to.
                self._add(row.acts, row.faults, number, Acted("resolve-done"))
                self._add(row.acts, row.faults, number, Acted("resolve-undone"))
        row.faults += self._hanging(number, row)
        if state == COMPLETED:
            row.faults += self._incomplete(number)
        return row

    def _incomplete(self, number: int) -> list[Fault]:
        """What a run that is called completed has left out."""
        instance = self.orchestrator.nodes[number].instance
        for step, is_to_be_done in required(self.orchestrator.definition.course).items():
            if step not in self.orchestrator.definition.steps:
                continue
            said = self._left_out(instance, step, ("done",) if is_to_be_done else ("done", "refused"))
            if said:
                how = f"the run is completed and {step} {said}: it does not stand outside"
                return [Fault(Broken("rest", how, step, state=COMPLETED), 0, Course(()))]
        return []

    def _left_out(self, instance: Instance, step: str, wanted: tuple[Effect, ...]) -> str:
        records: tuple[StepRecord | None, ...] = (instance.step(step),)
        if self.orchestrator.spec(step).each is not None and instance.mark(step) is not None:
            records = instance.records_of(step)
        for record in records:
            if record is None or record.effect not in wanted:
                return "was never sent" if record is None else f"is {record.effect}"
        return ""

    def _add(self, moves: list[Move], faults: list[Fault], node: int, event: OrchestratorEvent) -> None:
        for turned in self.orchestrator.answers(node, event):
            course = Course((), event, turned)
            if turned.broken is not None:
                faults.append(Fault(turned.broken, 1, course))
            elif turned.node != node:
                moves.append(Move(turned.node - node, 1, course))

    def _hanging(self, number: int, row: Row) -> list[Fault]:
        """Whether a lost message would hang the run here: each place must send again or go on by its timer alone."""
        state = self.orchestrator.nodes[number].instance.state
        places = () if row.is_ended or row.is_stuck else self.orchestrator.definition.lanes.get(state, ())
        awaited = [(place, name) for place in places for name in self._awaited(number, place)]
        for at, name in awaited:
            if not self._goes_on(number, at, name):
                how = f"in {state} no timer of {name} sends anything again: one lost message and it waits for ever"
                return [Fault(Broken("wait", how, other=name, state=state), 0, Course(()))]
        return []

    def _awaited(self, number: int, place: Place) -> list[str]:
        """What is waited for in a place: the leaf, or those of its items that are not settled."""
        spec = self.orchestrator.definition.steps.get(place.step)
        if spec is None or spec.each is None:
            return [place.step]
        awaited = ("intended", "unknown") if place.phase not in BACKWARD else ("intended", "unknown", "done")
        records = self.orchestrator.nodes[number].instance.records_of(place.step)
        # A list of which nothing is awaited has nothing that would ever move it.
        return [record.name for record in records if record.effect in awaited] or [place.step]

    def _goes_on(self, number: int, place: Place, waiting: str) -> bool:
        seen, front = {number}, [number]
        for node in front:
            fires = [fire for name, fire in self.orchestrator.nodes[node].timers if name == waiting]
            events = [
                Fired(waiting, kind)
                for fire in fires
                for kind in self.orchestrator.kinds(self.orchestrator.nodes[node], fire)
            ]
            for turned in (turned for event in events for turned in self.orchestrator.answers(node, event)):
                after = self.orchestrator.nodes[turned.node].instance.state
                is_gone = place not in self.orchestrator.definition.lanes.get(after, ())
                if is_gone or turned.broken or any(step == waiting for step, _ in turned.sent):
                    return True
                if turned.node not in seen:
                    seen.add(turned.node)
                    front.append(turned.node)
        return False

    def _line(self, step: str) -> Line:
        line = self.lines.get(step)
        if line is None:
            spec = self.orchestrator.spec(step)
            line = self.lines[step] = Line(len(self.lines), step, spec, self.orchestrator.assumptions)
        return line

    # ----------------------------------------------------------------- a line's moves

    def following(self, world: int, move: Move) -> int:
        """The world after a move. In the full search replies for the time being that no longer matter are let go."""
        after = world + move.delta
        return self._let_go(after) if self.is_full else after

    def _let_go(self, world: int) -> int:
        node = world & NODE_MASK
        for line, shift, _ in self.row(node).lines:
            number = (world >> shift) & LOCAL_MASK
            kept = self._kept.get((node, line.index, number))
            if kept is None:
                local = line.locals[number]
                loose = {a for a in local.loose if a.tag not in ENGINE_REPLIES or self._matters(node, a)}
                kept = self._kept[node, line.index, number] = line.number(local._replace(loose=frozenset(loose)))
            world += (kept - number) << shift
        return world

    def _matters(self, node: int, answer: Answer) -> bool:
        return any(turned.node != node or turned.broken for turned in self.orchestrator.answers(node, answer))

    def entry(self, node: int, line: Line, local: int) -> Entry:
        """What `line` can do in this local state at this node."""
        asked = LineMoves(self.orchestrator, node, line, local, is_full=self.is_full)
        return asked.full() if self.is_full else asked.reduced()
