"""The search: every world that can be reached, the fewest messages first, and what is wrong in any of them.

Theory of operation. A world is one number: the orchestrator's node in its low bits, then the local state of each
line. Worlds are taken in the order of how many messages it takes to get there, so the first law found broken is
broken by as few as possible. For each world its parent is kept, and a course is worked out again only when it is
to be told. Afterwards the worlds are gone through backwards: whatever cannot reach a rest, by messages and timers
alone, or out of `stuck` by what a person can do, breaks the law `liveness`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sagas.check.courses import later
from sagas.check.events import Acted, Turned
from sagas.check.laws import Broken, Law
from sagas.check.moves import LOCAL_MASK, NODE_MASK, Course, Fault, Line, Move, Row
from sagas.check.worlds import Worlds
from sagas.core.instance import STUCK, leaf_of

Progress = Callable[[int, int], None]
"""Told every so often: how many worlds are known, and how many messages deep the search is. May raise Enough."""


class Enough(Exception):
    """Raised by who is told of the progress: what was found so far is to be reported."""


_PROGRESS_EVERY = 1_000
_ABANDON = Acted("abandon")


@dataclass(slots=True)
class Found:
    """What a search came to. `worlds` maps each world to how many messages it takes; `path` ends in the broken law."""

    worlds: dict[int, int]
    transitions: int
    depth: int
    is_whole: bool
    broken: Broken | None = None
    path: list[Course] = field(default_factory=list[Course])


class Search:
    """One search. `worlds_max` and `depth_max` bound it; 0 means no bound."""

    def __init__(self, worlds: Worlds, *, worlds_max: int, depth_max: int, progress: Progress) -> None:
        self.worlds = worlds
        self.worlds_max = worlds_max
        self.depth_max = depth_max
        self.progress = progress
        self.costs: dict[int, int] = {}
        self.parents: dict[int, int] = {}
        self._roots: dict[int, Turned] = {}
        self.transitions = 0
        self.is_whole = True
        self._depth = 0
        self._is_plain = not worlds.is_full
        self._before: dict[int, int] = {}
        self._best: tuple[int, int, Fault] | None = None
        self._buckets: list[list[int]] = [[]]

    def run(self) -> Found:
        """Search, and say what was found."""
        for turned in self.worlds.orchestrator.begin():
            if turned.broken is not None:
                return Found({}, 0, 0, True, turned.broken, [Course((), None, turned)])
            self.costs[turned.node] = 0
            self._roots[turned.node] = turned
            self._buckets[0].append(turned.node)
        depth = self._explore()
        if self._best is not None:
            _, world, fault = self._best
            return self._found(depth, fault.broken, [*self.path(world), fault.course])
        return self._unreachable_rest(depth) or self._found(depth, None, [])

    def _found(self, depth: int, broken: Broken | None, path: list[Course]) -> Found:
        return Found(self.costs, self.transitions, depth, self.is_whole, broken, path)

    # ----------------------------------------------------------------- forwards

    def _explore(self) -> int:
        """Until there is no more, or enough; how deep it came."""
        try:
            return self._explore_all()
        except Enough:
            self.is_whole = False
            return self._depth

    def _explore_all(self) -> int:
        depth, told = 0, 0
        buckets, costs = self._buckets, self.costs
        while depth < len(buckets):
            if self._best is not None and self._best[0] <= depth:
                break
            if (self.depth_max and depth > self.depth_max) or (self.worlds_max and len(costs) > self.worlds_max):
                self.is_whole = False
                break
            bucket, self._depth = buckets[depth], depth
            for world in bucket:  # grows while it is gone through, where a move costs nothing
                if costs[world] == depth:
                    self._expand(world, depth)
                if len(costs) >= told + _PROGRESS_EVERY:
                    told = len(costs)
                    self.progress(told, depth)
            depth += 1
        return depth - 1

    def _expand(self, world: int, depth: int) -> None:
        node = world & NODE_MASK
        row = self.worlds.row(node)
        standing = undone = 0
        self._push(world, depth, row.moves)
        self._push(world, depth, row.acts)
        if row.faults:
            self._note(world, depth, row.faults)
        for line, shift, entries in row.lines:
            local = (world >> shift) & LOCAL_MASK
            entry = entries.get(local)
            if entry is None:
                entry = entries[local] = self.worlds.entry(node, line, local)
            if entry.moves:
                self._push(world, depth, entry.moves)
            if entry.acts:
                self._push(world, depth, entry.acts)
            if entry.faults:
                self._note(world, depth, entry.faults)
            standing |= entry.standing
            undone |= entry.undone
        if undone and standing:
            self._note_order(world, depth, row, standing, undone)

    def _push(self, world: int, depth: int, moves: list[Move] | tuple[Move, ...]) -> None:
        costs, parents, buckets = self.costs, self.parents, self._buckets
        self.transitions += len(moves)
        for move in moves:
            after = world + move[0] if self._is_plain else self.worlds.following(world, move)
            reached = depth + move[1]
            known = costs.get(after)
            if known is None or reached < known:
                costs[after] = reached
                parents[after] = world
                while len(buckets) <= reached:
                    buckets.append([])
                buckets[reached].append(after)

    def _note(self, world: int, depth: int, faults: list[Fault] | tuple[Fault, ...]) -> None:
        for fault in faults:
            if self._best is None or depth + fault.cost < self._best[0]:
                self._best = (depth + fault.cost, world, fault)

    # ----------------------------------------------------------------- the order of undoing

    def _note_order(self, world: int, depth: int, row: Row, standing: int, undone: int) -> None:
        """An undone step before one that stands."""
        for line, _, _ in row.lines:
            if undone & line.bit and standing & self._later_than(line):
                for later, _, _ in row.lines:
                    if later.bit & standing & self._later_than(line):
                        self._note(world, depth, [self._out_of_order(world, line, later)])

    def _later_than(self, line: Line) -> int:
        """The lines whose effects must be gone before this line's is undone."""
        mask = self._before.get(line.index)
        if mask is None or len(self._before) != len(self.worlds.lines):
            order = later(self.worlds.orchestrator.definition.course)
            for one in self.worlds.lines.values():
                after = order[leaf_of(one.step)]
                self._before[one.index] = sum(o.bit for o in self.worlds.lines.values() if leaf_of(o.step) in after)
            mask = self._before[line.index]
        return mask

    def _out_of_order(self, world: int, line: Line, later: Line) -> Fault:
        taken = self._course_to(world, line, "is_undone")
        stands = self._course_to(world, later, "effect")
        law: Law = "pivot" if later.spec.kind == "pivot" else "order"
        broken = Broken(
            law, f"{line.step} is undone while {later.step} stands or may yet be done", line.step, later.step
        )
        course = Course((*taken.deliveries, *stands.deliveries))
        return Fault(broken, len(course.deliveries), course)

    def _course_to(self, world: int, line: Line, wanted: str) -> Course:
        """The deliveries to one line after which what is `wanted` of it is so."""
        row = self.worlds.row(world & NODE_MASK)
        sent = {s.operation for s in self.worlds.orchestrator.nodes[world & NODE_MASK].sent if s.step == line.step}
        assert row.lines
        first = line.locals[(world >> line.shift) & LOCAL_MASK]
        reach = {first: Course(())}
        front = [first]
        for local in front:
            if getattr(local, wanted) > 0:
                return reach[local]
            for delivery in line.outside.deliveries(local, "do" in sent, "undo" in sent):
                if delivery.local not in reach:
                    reach[delivery.local] = Course((*reach[local].deliveries, delivery))
                    front.append(delivery.local)
        raise AssertionError(f"{line.step} never comes to {wanted} from {first}")

    # ----------------------------------------------------------------- backwards

    def _unreachable_rest(self, depth: int) -> Found | None:
        if not self.is_whole:
            return None
        alone = self._cannot_reach(with_acts=False)
        if alone is not None:
            state = self._state(alone)
            how = f"in {state} no message and no timer leads to a rest any more"
            return self._found(depth, Broken("liveness", how, state=state), self.path(alone))
        helped = self._cannot_reach(with_acts=True)
        if helped is not None:
            state = self._state(helped)
            how = f"nothing that a person can do leads out of {state} to an end but to abandon it"
            return self._found(depth, Broken("liveness", how, state=state), self.path(helped))
        return None

    def _state(self, world: int) -> str:
        return self.worlds.orchestrator.nodes[world & NODE_MASK].instance.state

    def _cannot_reach(self, *, with_acts: bool) -> int | None:
        """The nearest world from which no rest can be reached; with a person's help, `stuck` is none."""
        rests = self._rests(is_stuck_one=not with_acts)
        good: set[int] = set()
        left: list[int] = []
        for world in sorted(self.costs, key=self.costs.__getitem__, reverse=True):
            if world & NODE_MASK in rests:
                good.add(world)
            else:
                left.append(world)
        while left:
            still = [world for world in left if not self._leads_to(world, good, with_acts=with_acts)]
            if len(still) == len(left):
                return min(still, key=self.costs.__getitem__)
            left = still
        return None

    def _rests(self, *, is_stuck_one: bool) -> set[int]:
        rests: set[int] = set()
        for number, node in enumerate(self.worlds.orchestrator.nodes):
            state = node.instance.state
            if node.instance.is_ended or (is_stuck_one and state == STUCK):
                rests.add(number)
        return rests

    def _leads_to(self, world: int, good: set[int], *, with_acts: bool) -> bool:
        for after in self._following(world, with_acts=with_acts):
            if after in good:
                good.add(world)
                return True
        return False

    def _following(self, world: int, *, with_acts: bool) -> Iterator[int]:
        row = self.worlds.row(world & NODE_MASK)
        for move in row.moves:
            yield self.worlds.following(world, move)
        if with_acts:
            for move in row.acts:
                if move.course.event != _ABANDON:
                    yield self.worlds.following(world, move)
        for _, shift, entries in row.lines:
            entry = entries[(world >> shift) & LOCAL_MASK]
            for move in entry.moves:
                yield self.worlds.following(world, move)
            if with_acts:
                for move in entry.acts:
                    yield self.worlds.following(world, move)

    # ----------------------------------------------------------------- telling

    def path(self, world: int) -> list[Course]:
        """How one comes to a world."""
        courses: list[Course] = []
        while world in self.parents:
            before = self.parents[world]
            courses.append(self._course(before, world, self.costs[world] - self.costs[before]))
            world = before
        # What was decided at once when the run began; of a world that is reached otherwise, too, the root has none.
        courses.append(Course((), None, self._roots[world]))
        return courses[::-1]

    def _course(self, world: int, after: int, cost: int) -> Course:
        row = self.worlds.row(world & NODE_MASK)
        moves = [*row.moves, *row.acts]
        for line, shift, _ in row.lines:
            entry = self.worlds.entry(world & NODE_MASK, line, (world >> shift) & LOCAL_MASK)
            moves += [*entry.moves, *entry.acts]
        return next(m.course for m in moves if m.cost == cost and self.worlds.following(world, m) == after)
