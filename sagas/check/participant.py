"""A participant as the search sees it: one step's memory, what truly stands outside, and what can be delivered.

Theory of operation. Each operation has a memory of its own, so each step is a participant of its own. A command
that was sent once can be delivered at any time and any number of times; what it meets is decided by the
production barrier (`sagas/core/barrier.py`). Where the handler would run, everything it may answer is tried: each
declared reply, a fault, in progress, and that it cannot be read. A reply that is remembered can be had again by
delivering the command again, so remembered replies need not be kept as messages; `loose` holds the others.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sagas.check.assumptions import Assumptions
from sagas.check.events import Answer
from sagas.core import barrier
from sagas.core.definition import StepSpec
from sagas.core.instance import Operation
from sagas.core.messages import Fault, InProgress, Rejection, Undeliverable, tag_of

FAULT, IN_PROGRESS, UNDELIVERABLE = (tag_of(reply) for reply in (Fault, InProgress, Undeliverable))

_EFFECTS_MAX = 2


class Memory(NamedTuple):
    """What the barrier keeps of one operation."""

    answer: str = ""
    is_blocked: bool = False
    command_hash: bytes = b""


class Local(NamedTuple):
    """One step outside. `effect`: how often it stands, −1 when more was undone than done; `is_undone`: an undo ran."""

    do: Memory | None = None
    undo: Memory | None = None
    effect: int = 0
    is_undone: bool = False
    loose: frozenset[Answer] = frozenset()


PRISTINE = Local()

QUIET = Local(do=Memory(is_blocked=True), undo=Memory(is_blocked=True))
"""Nothing stands, and nothing more is done or said that anybody would notice."""


class Delivery(NamedTuple):
    """A command was delivered, or a person outside acted: what came of it. `answer` is what was sent back."""

    step: str
    operation: Operation
    what: str
    local: Local
    answer: Answer | None = None
    is_interim: bool = False


class Outside:
    """The participant of one step."""

    def __init__(self, step: str, spec: StepSpec, assumptions: Assumptions) -> None:
        self.step = step
        self.spec = spec
        self.assumptions = assumptions
        # Whether refusing what cannot be read settles it: behind the pivot it is asked for again.
        self.is_final = spec.kind != "retriable"
        self._refusals = {tag for tag, reply in spec.replies.items() if issubclass(reply, Rejection)}

    # ----------------------------------------------------------------- what is there to be read

    def answers(self, local: Local) -> Iterator[Answer]:
        """The replies that may reach the instance now, because they were sent and are remembered or on their way."""
        if local.do is not None and local.do.answer:
            yield Answer(self.step, "do", local.do.answer)
        if local.undo is not None and local.undo.answer:
            yield Answer(self.step, "undo", local.undo.answer)
        yield from local.loose

    # ----------------------------------------------------------------- what can happen

    def deliveries(self, local: Local, is_do_sent: bool, is_undo_sent: bool) -> Iterator[Delivery]:
        """Everything that can happen outside now; only what changes something or answers for the time being."""
        if is_do_sent:
            yield from self._do(local)
        if is_undo_sent:
            yield from self._undo(local)
        if local.do is not None and not local.do.answer and not local.do.is_blocked:
            yield from self._definite(local, "settled: ")

    def interim(self, local: Local, is_do_sent: bool, is_undo_sent: bool) -> Iterator[Delivery]:
        """Replies for the time being that may have been sent before now and are read only now."""
        if is_do_sent:
            for tag in (FAULT, IN_PROGRESS) if self.is_final else (FAULT, IN_PROGRESS, UNDELIVERABLE):
                yield self._interim(local, "do", tag)
        if is_undo_sent:
            for tag in (FAULT, UNDELIVERABLE):
                yield self._interim(local, "undo", tag)

    def _do(self, local: Local) -> Iterator[Delivery]:
        known = local.do if self.assumptions.has_barrier else None
        met = barrier.meet(known, b"")
        if met == "carry out":
            yield from self._definite(local, "")
            yield self._interim(local, "do", FAULT)
            yield self._interim(local._replace(do=self._kept(Memory())), "do", IN_PROGRESS)
        elif met == "in progress":
            yield self._interim(local, "do", IN_PROGRESS)
        if barrier.refuse(known) == "refuse":
            is_kept = self.is_final and self.assumptions.has_barrier
            after = local._replace(do=Memory(UNDELIVERABLE)) if is_kept else local
            yield self._interim(after, "do", UNDELIVERABLE)._replace(is_interim=not is_kept)

    def _definite(self, local: Local, how: str) -> Iterator[Delivery]:
        for tag in self.spec.replies:
            is_refusal = tag in self._refusals
            effect = local.effect if is_refusal else min(local.effect + 1, _EFFECTS_MAX)
            yield self._answered(local, "do", tag, effect, f"{how}{'refused' if is_refusal else 'done'}")
            if is_refusal and self.assumptions.participants == "leave-something":
                yield self._answered(local, "do", tag, 1, f"{how}refused, and something of it remains")

    def _undo(self, local: Local) -> Iterator[Delivery]:
        if self.spec.undo is None:
            return
        known = local.undo if self.assumptions.has_barrier else None
        if barrier.meet(known, b"") == "carry out":
            yield from self._undone(local)
        if barrier.refuse(known) == "refuse":
            yield self._interim(local, "undo", UNDELIVERABLE)

    def _undone(self, local: Local) -> Iterator[Delivery]:
        assert self.spec.undo is not None
        undoing = self._undoing(local)
        is_taken_back = undoing.startswith("take back")
        before = local
        if undoing == "block the do" and self.assumptions.participants != "forget-undos":
            before = local._replace(do=Memory(is_blocked=True))
        elif undoing == "take back what is in progress" and local.do is not None:
            before = local._replace(do=local.do._replace(is_blocked=True))
        for tag, reply in self.spec.undo.replies.items():
            if issubclass(reply, Rejection):
                if is_taken_back:
                    # What is in progress and cannot be taken back is taken for done: the worst of both.
                    yield self._answered(before, "undo", tag, max(1, before.effect), "its undo is refused")
            elif is_taken_back:
                least = -1 if self.assumptions.has_barrier and undoing == "take back" else 0
                after = before._replace(is_undone=before.is_undone or before.effect > 0)
                yield self._answered(after, "undo", tag, max(least, before.effect - 1), "undone")
            else:
                yield self._answered(before, "undo", tag, before.effect, "there is nothing to undo")
        if is_taken_back:
            yield self._interim(before, "undo", FAULT)

    def _undoing(self, local: Local) -> barrier.Undoing:
        if not self.assumptions.has_barrier:
            return "take back"
        undoing = barrier.something_to_undo(local.do, local.do is not None and self._is_refusal(local.do.answer))
        blindly = self.assumptions.participants == "undo-blindly" and not undoing.startswith("take back")
        return "take back" if blindly else undoing

    def unanswered(self, local: Local) -> str:
        """Which operation is answered and would not be answered again, "" for none: a lost reply would hang the run."""
        for operation, memory in (("do", local.do), ("undo", local.undo)):
            if memory is not None and memory.answer and barrier.meet(memory, b"") in ("blocked", "in progress"):
                return operation
        return ""

    # ----------------------------------------------------------------- what is kept of it

    def _is_refusal(self, tag: str) -> bool:
        return tag == UNDELIVERABLE or tag in self._refusals

    def _kept(self, memory: Memory) -> Memory | None:
        return memory if self.assumptions.has_barrier else None

    def _interim(self, local: Local, operation: Operation, tag: str) -> Delivery:
        return Delivery(self.step, operation, _WORDS[tag], local, Answer(self.step, operation, tag), is_interim=True)

    def _answered(self, local: Local, operation: Operation, tag: str, effect: int, what: str) -> Delivery:
        answer = Answer(self.step, operation, tag)
        memory = Memory(tag)
        is_forgotten = tag in self._refusals and self.assumptions.participants == "forget-refusals"
        if is_forgotten or not self.assumptions.has_barrier:
            after = local._replace(effect=effect, loose=local.loose | {answer})
        elif operation == "undo":
            after = local._replace(undo=memory, effect=effect)
        else:
            after = local._replace(do=memory, effect=effect)
        return Delivery(self.step, operation, what, after, answer)


_WORDS = {FAULT: "fails for now", IN_PROGRESS: "is in progress", UNDELIVERABLE: "cannot be read"}
