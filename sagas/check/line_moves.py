"""What one line can do at one node: in the reduced search, and in the full one.

Each question is asked once for each pair of a node and a local state, and answered with an `Entry`.
"""

from sagas.check.events import ENGINE_REPLIES, Acted, Answer, Turned
from sagas.check.laws import Broken
from sagas.check.moves import Course, Entry, Fault, Line, Move
from sagas.check.orchestrator import Orchestrator
from sagas.check.participant import QUIET, Delivery, Local
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, REJECTED, STUCK, leaf_of


class LineMoves:
    """One line at one node in one local state, looked at."""

    def __init__(self, orchestrator: Orchestrator, node: int, line: Line, local: int, *, is_full: bool) -> None:
        self.orchestrator = orchestrator
        self.is_full = is_full
        self.number = node
        self.node = orchestrator.nodes[node]
        self.line = line
        self.outside = line.outside
        self.local = local
        sent = {s.operation for s in self.node.sent if s.step == line.step}
        self.is_sent = {operation: operation in sent for operation in ("do", "undo")}
        self.record = self.node.instance.step(line.step)
        self.moves: list[Move] = []
        self.acts: list[Move] = []
        self.faults: list[Fault] = []

    def _deliveries(self, local: Local) -> list[Delivery]:
        asked = (local, self.is_sent["do"], self.is_sent["undo"])
        known = self.line.deliveries.get(asked)
        if known is None:
            known = self.line.deliveries[asked] = list(self.outside.deliveries(*asked))
        return known

    # ----------------------------------------------------------------- reduced

    def reduced(self) -> Entry:
        """Deliveries are put off until what they lead to is read."""
        first = self.line.locals[self.local]
        reach: dict[Local, tuple[Delivery, ...]] = {first: ()}
        after: dict[Local, list[Local]] = {}
        going: set[Local] = set()
        front = [first]
        for answer in self.outside.answers(first):
            self._read(first, (), answer)
        self._read_late(first)
        for local in front:
            after[local] = []
            if any(self._changes(answer) for answer in self.outside.answers(local)):
                going.add(local)
            for delivery in self._deliveries(local):
                course = (*reach[local], delivery)
                if delivery.answer is not None and self._read(delivery.local, course, delivery.answer):
                    going.add(local)
                after[local].append(delivery.local)
                if delivery.local not in reach:
                    reach[delivery.local] = course
                    front.append(delivery.local)
        self._materialise(reach, after, going)
        self._resolve(reach)
        return self._entry(reach)

    def _read(self, local: Local, course: tuple[Delivery, ...], answer: Answer) -> bool:
        """Let the instance read `answer`; whether that changes it."""
        changes = False
        for turned in self.orchestrator.answers(self.number, answer):
            cost = len(course) + 1
            if turned.broken is not None:
                self.faults.append(Fault(turned.broken, cost, Course(course, answer, turned)))
            elif turned.node != self.number:
                changes = True
                after = local if self.is_full else self._settled(turned.node, local)
                self.moves.append(Move(self._delta(turned.node, after), cost, Course(course, answer, turned)))
        return changes

    def _read_late(self, first: Local) -> None:
        """Replies for the time being that were sent long ago: by now they must at least be taken for late ones.

        Asked once for each state and record of the step, which is all that such an answer is held against.
        """
        instance = self.node.instance
        if not self.line.is_new(instance.state, instance.stuck_from, self.record):
            return
        for delivery in self.outside.interim(first, self.is_sent["do"], self.is_sent["undo"]):
            assert delivery.answer is not None
            for turned in self.orchestrator.answers(self.number, delivery.answer):
                if turned.broken is not None:
                    self.faults.append(Fault(turned.broken, 2, Course((delivery,), delivery.answer, turned)))

    def _settled(self, number: int, local: Local) -> Local:
        """`local`, or `QUIET` where nothing remains of the step and whatever may still be read changes nothing."""
        known = self.line.settled.get((number, local))
        if known is None:
            known = self.line.settled[number, local] = self._looked_through(number, local)
        return known

    def _looked_through(self, number: int, local: Local) -> Local:
        node = self.orchestrator.nodes[number]
        record = node.instance.step(self.line.step)
        if record is None or record.effect not in ("undone", "refused") or self.orchestrator.has_ways:
            return local
        seen, front = {local}, [local]
        for one in front:
            answers = list(self.outside.answers(one))
            if one.effect or any(t.node != number or t.broken for a in answers for t in self._at(number, a)):
                return local
            following = {d.local for d in self._deliveries(one)} - seen
            seen |= following
            front += following
        return QUIET

    def _at(self, number: int, answer: Answer) -> tuple[Turned, ...]:
        return self.orchestrator.answers(number, answer)

    def _changes(self, answer: Answer) -> bool:
        return any(turned.node != self.number for turned in self.orchestrator.answers(self.number, answer))

    def _materialise(
        self, reach: dict[Local, tuple[Delivery, ...]], after: dict[Local, list[Local]], going: set[Local]
    ) -> None:
        """Make a move of what leads to a local state that nothing is ever read from, where others are waited for."""
        if not going or self.node.instance.state in ENDS:
            return
        grows = True
        while grows:
            more = {local for local in reach if local not in going and not going.isdisjoint(after[local])}
            grows = bool(more)
            going |= more
        for local, course in reach.items():
            if course and local not in going:
                self.moves.append(Move(self._delta(self.number, local), len(course), Course(course)))

    # ----------------------------------------------------------------- full

    def full(self) -> Entry:
        """Every delivery is a move of its own, and what it sends lies there until it is read."""
        first = self.line.locals[self.local]
        for delivery in self._deliveries(first):
            local = delivery.local
            if delivery.is_interim and delivery.answer is not None:
                local = local._replace(loose=local.loose | {delivery.answer})
            if local != first:
                self.moves.append(Move(self._delta(self.number, local), 1, Course((delivery,))))
        for answer in self.outside.answers(first):
            # The inbox lets one of a kind through; a definite answer is not let go, for it can be had again.
            read = first._replace(loose=first.loose - {answer}) if answer.tag in ENGINE_REPLIES else first
            self._read(read, (), answer)
        self._resolve({first: ()})
        return self._entry({first: ()})

    # ----------------------------------------------------------------- what a person says of it

    def _resolve(self, reach: dict[Local, tuple[Delivery, ...]]) -> None:
        instance = self.node.instance
        if instance.state != STUCK or instance.stuck_step != self.line.step:
            return
        is_careless = self.orchestrator.assumptions.operators == "careless"
        for local, course in reach.items():
            if local.effect == 1 or is_careless:
                self._act(Acted("resolve-done"), course, local)
            if is_careless:
                self._act(Acted("resolve-undone"), course, local)
        if not is_careless:
            # The person has seen to it that nothing remains, and that the commands do nothing any more.
            self._act(Acted("resolve-undone"), (), QUIET)

    def _act(self, event: Acted, course: tuple[Delivery, ...], local: Local) -> None:
        for turned in self.orchestrator.answers(self.number, event):
            how = Course(course, event, turned)
            if turned.broken is not None:
                self.faults.append(Fault(turned.broken, len(course) + 1, how))
            elif turned.node != self.number:
                self.acts.append(Move(self._delta(turned.node, local), len(course) + 1, how))

    # ----------------------------------------------------------------- the laws

    def _delta(self, node: int, local: Local) -> int:
        return node - self.number + ((self.line.number(local) - self.local) << self.line.shift)

    def _entry(self, reach: dict[Local, tuple[Delivery, ...]]) -> Entry:
        for local, course in reach.items():
            broken = self._broken(local)
            if broken is not None:
                self.faults.append(Fault(broken, len(course), Course(course)))
        counts = not self.line.leaves_nothing
        return Entry(
            tuple(self.moves),
            tuple(self.acts),
            self.line.bit if counts and any(local.effect > 0 for local in reach) else 0,
            self.line.bit if any(local.is_undone for local in reach) else 0,
            tuple(self.faults),
        )

    def _broken(self, local: Local) -> Broken | None:
        step, instance = self.line.step, self.node.instance
        if local.effect > 1:
            return Broken("once", f"{step} took effect twice", step)
        if local.effect < 0:
            return Broken("once", f"{step} was undone although it had not taken effect", step)
        operation: str = self.outside.unanswered(local)
        if operation:
            return Broken(
                "wait",
                f"{step} {operation} is not answered again: one lost reply and it waits for ever",
                step,
                operation=operation,
            )
        return self._unrest(local) if instance.state in ENDS else self._false(local) or self._impatient(local)

    def _unrest(self, local: Local) -> Broken | None:
        """What is wrong with having ended like this."""
        step, state = self.line.step, self.node.instance.state
        if state == ABANDONED or self.line.leaves_nothing:
            return None
        effect = "never sent" if self.record is None else self.record.effect
        if state in (COMPENSATED, REJECTED) and local.effect:
            return Broken(
                "rest", f"the run is {state} and {step} stands outside (in the ledger: {effect})", step, state=state
            )
        if state == COMPLETED and local.effect != (effect == "done"):
            truth = "stands outside" if local.effect else "does not stand outside"
            return Broken(
                "rest", f"the run is completed and {step} {truth} (in the ledger: {effect})", step, state=state
            )
        return None

    def _false(self, local: Local) -> Broken | None:
        if self.record is None or not local.effect or self.line.leaves_nothing:
            return None
        if self.record.effect in ("undone", "refused"):
            return Broken(
                "ledger", f"{self.line.step} stands outside, and the ledger says: {self.record.effect}", self.line.step
            )
        return None

    def _impatient(self, local: Local) -> Broken | None:
        if self.orchestrator.assumptions.reads_before_timers or local.do is None or not local.do.answer:
            return None
        places = self.orchestrator.definition.lanes.get(self.node.instance.state, ())
        if not any(
            place.step == leaf_of(self.line.step) and place.phase in ("pending", "resolving") for place in places
        ):
            return None
        may_time_out = any(
            fire.step == self.line.step and "timeout" in self.orchestrator.kinds(self.node, fire)
            for _, fire in self.node.timers
        )
        if not may_time_out or self.record is None or self.record.effect != "intended":
            return None
        how = f"{self.line.step} was answered, and its timeout comes before the answer is read"
        return Broken("patience", how, self.line.step)
