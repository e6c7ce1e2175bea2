"""Plans drawn by chance over the whole algebra.

Most leaves keep to what may stand where they stand, so that most plans are taken; the others look for a rule that is
missing.
"""

from dataclasses import replace
from random import Random

from tests.random_sagas.plans import Fork, How, Joined, Kind, Leaf, Part, Plan, Tree, When, answers

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_GUIDED = 0.85
"""How often a leaf keeps to what may stand where it stands."""
_DEPTH_MAX = 3


def draw(seed: int, leaves_max: int = 5) -> Plan:
    """The plan of a seed."""
    random = Random(f"{seed}:plan")
    tree = _Draw(random, random.randint(2, leaves_max)).tree()
    return Plan(tree=tree, deadline=60 if random.random() < 0.4 else None)


class _Draw:
    def __init__(self, random: Random, leaves_max: int) -> None:
        self._random = random
        self._left = leaves_max
        self._named = 0
        self._is_past = False
        self._written: list[str] = []

    def _is(self, chance: float) -> bool:
        return self._random.random() < chance

    def tree(self) -> Tree:
        parts = [self._part(0)]
        while self._left > 0:
            parts.append(self._part(0))
        return parts[0] if len(parts) == 1 else Joined("then", tuple(parts))

    def _part(self, depth: int, *, lane: bool = False) -> Tree:
        if depth >= _DEPTH_MAX or self._left <= 1 or self._is(0.35):
            return self._leaf(lane=lane)
        kind = self._random.choice(("then", "both", "both", "ways", "ways", "fork", "fork", "when", "part"))
        match kind:
            case "then" | "both" | "ways":
                return self._joined(kind, depth, lane=lane)
            case "fork":
                return self._fork(depth, lane=lane)
            case "when":
                return self._when(depth, lane=lane)
            case _:
                is_whole = depth == 0
                return Part(self._name(), self._part(depth + 1, lane=lane)) if is_whole else self._leaf(lane=lane)

    def _fork(self, depth: int, *, lane: bool) -> Tree:
        was_past = self._is_past
        head = self._leaf(lane=lane)
        words = answers(head)
        if not words or self._left <= 0:
            return head
        branches: list[tuple[str, Tree]] = []
        for word in self._random.sample(words, self._random.randint(1, min(2, len(words)))):
            # Whoever takes up the pivot's refusal has not passed it.
            is_past = head.kind == "retriable" or (head.kind == "pivot" and word != "Refused")
            self._is_past = was_past or is_past
            branches.append((word, self._part(depth + 1, lane=lane)))
        self._is_past = was_past or head.kind in ("pivot", "retriable") or self._is_past
        return Fork(head, tuple(branches))

    def _when(self, depth: int, *, lane: bool) -> Tree:
        name, was_past = self._name(), self._is_past
        then = self._part(depth + 1, lane=lane)
        after, self._is_past = self._is_past, was_past
        otherwise = self._part(depth + 1, lane=lane) if self._left > 0 and self._is(0.6) else None
        self._is_past = self._is_past or after
        return When(name, then, otherwise)

    def _joined(self, how: How, depth: int, *, lane: bool) -> Tree:
        parts: list[Tree] = []
        was_past = self._is_past
        after = was_past
        for _ in range(3 if self._is(0.35) else 2):
            if self._left <= 0 and parts:
                break
            if how != "then":
                self._is_past = was_past
            parts.append(self._part(depth + 1, lane=lane or how == "both"))
            after = after or self._is_past
        self._is_past = after
        if len(parts) == 1:
            return parts[0]
        return Joined(how, tuple(parts))

    def _name(self) -> str:
        self._named += 1
        return _LETTERS[self._named - 1]

    def _kind(self, *, lane: bool) -> Kind:
        any_kind: list[Kind] = ["step", "step", "pivot", "retriable", "wait", "delay"]
        behind: list[Kind] = ["retriable", "retriable", "retriable", "wait", "delay"]
        before: list[Kind] = [*(["step"] * 10), "wait", "wait", "delay"]  # type: ignore[list-item]  # each is one of the words
        if not self._is(_GUIDED):
            return self._random.choice(any_kind)
        if self._is_past:
            return self._random.choice(behind)
        return self._random.choice(before if lane else [*before, "pivot", "pivot"])

    def _leaf(self, *, lane: bool) -> Leaf:
        self._left -= 1
        kind, name = self._kind(lane=lane), self._name()
        match kind:
            case "step":
                return self._with_data(self._step(name))
            case "pivot":
                self._is_past = True
                unknown, tries = self._random.choice(("ask", "ask", "hold")), self._random.choice((0, 2))
                leaf = Leaf(name=name, kind="pivot", unknown=unknown, can_refuse=self._is(0.8), tries=tries)
                return self._with_data(leaf)
            case "retriable":
                self._is_past = True
                leaf = Leaf(name=name, kind="retriable", unknown="resend", can_refuse=False, each=self._is(0.12))
                return self._with_data(leaf)
            case "wait":
                return self._wait(name)
            case "delay":
                return Leaf(name=name, kind="delay")

    def _step(self, name: str) -> Leaf:
        has_undo = self._is(0.85)
        unknown = self._random.choice(("undo", "undo", "ask", "hold"))
        return Leaf(
            name=name,
            unknown=unknown,
            has_undo=has_undo,
            can_keep=has_undo and self._is(0.1),
            can_refuse=self._is(0.8),
            undo_tries=2 if has_undo and self._is(0.1) else 0,
            tries=self._random.choice((0, 0, 2, 1)),
            each=self._is(0.12),
            expires=unknown == "undo" and self._is(0.1),
        )

    def _wait(self, name: str) -> Leaf:
        signals = self._random.choice((("Yes",), ("Yes", "No"), ("Yes", "No"), ("Also", "Yes", "No"), ("No",)))
        unknown = self._random.choice(("refusal", "consent", "hold"))
        if self._is_past and self._is(_GUIDED):
            signals, unknown = ("Yes",), self._random.choice(("consent", "hold"))
        unknown = "consent" if signals == ("No",) else unknown
        return Leaf(name=name, kind="wait", unknown=unknown, signals=signals, aside=self._is(0.3))

    def _with_data(self, leaf: Leaf) -> Leaf:
        """The step as it is, or one that keeps something, and may say what another one has kept."""
        if not self._is(0.25):
            return leaf
        reads = self._random.choice(self._written) if self._written and self._is(0.4) else ""
        undo_reads = leaf.name if leaf.has_undo and leaf.kind == "step" and self._is(0.5) else ""
        self._written.append(leaf.name)
        return replace(leaf, writes=True, reads=reads, undo_reads=undo_reads)
