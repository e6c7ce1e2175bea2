"""Bugs of the rules, for `sagas check` to find: in what `decide` answers, in a course, and in the barrier.

Those of the kernel are put around `decide`, so that they are bugs of what it answers and not of how it is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import Decision, Fire, Input, Operate, Reply, Send, SetTimer
from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, ENDS, STUCK, Instance
from sagas.core.machine import Edge, machine_of, table_of
from sagas.core.messages import Fault, InProgress, Rejection, Undeliverable, tag_of
from tests.mutants.mutant import Mutant

Decide = Callable[[Definition, Instance | None, Input, int], Decision]
Bug = Callable[[Decide, Definition, Instance, Input, int], Decision]

FAULT, IN_PROGRESS, UNDELIVERABLE = (tag_of(reply) for reply in (Fault, InProgress, Undeliverable))
DECIDES = ("sagas.core.kernel:decide", "sagas.testing.rehearsal:decide")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A planted bug for the checker: a mutant, or a definition that is altered; `saga` is what it shows in."""

    mutant: Mutant
    altered: Callable[[Definition], Definition] | None = None
    sagas: Sequence[str] = ("P", "uP", "uuP", "uPr", "cuP", "uH")

    @property
    def name(self) -> str:
        """What it is called."""
        return self.mutant.name


# --------------------------------------------------------------------------- around decide


def _around(bug: Bug) -> Callable[[Any], Any]:
    def make(original: Decide) -> Decide:
        def decide(definition: Definition, instance: Instance | None, message: Input, now_ms: int) -> Decision:
            if instance is None:
                return original(definition, instance, message, now_ms)
            return bug(original, definition, instance, message, now_ms)

        return decide

    return make


def kernel_rule(name: str, bug: Bug, *sagas: str) -> Rule:
    mutant = Mutant(name=name, replaced=dict.fromkeys(DECIDES, _around(bug)))
    return Rule(mutant=mutant, sagas=sagas) if sagas else Rule(mutant=mutant)


def _is(message: Input, operation: str, *tags: str) -> bool:
    return isinstance(message, Reply) and message.operation == operation and message.event_type in tags


def _tag(definition: Definition, step: str, operation: str, *, is_refusal: bool) -> str:
    spec = definition.steps[step]
    replies = spec.undo.replies if operation == "undo" and spec.undo is not None else spec.replies
    return next((t for t, r in replies.items() if issubclass(r, Rejection) == is_refusal), "")


def _instead(definition: Definition, step: str, operation: Any, *, is_refusal: bool) -> Reply | None:
    tag = _tag(definition, step, operation, is_refusal=is_refusal)
    return Reply(step=step, operation=operation, event_type=tag, data=b"{}") if tag else None


def _taken_for(operation: str, tag: str, *, is_refusal: bool) -> Bug:
    """An answer for the time being, taken for a definite one."""

    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        if isinstance(message, Reply) and _is(message, operation, tag):
            message = _instead(definition, message.step, operation, is_refusal=is_refusal) or message
        return decide(definition, instance, message, now_ms)

    return bug


def _said_otherwise(operation: str, *, is_refusal: bool) -> Bug:
    """A definite answer, taken for its opposite."""

    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        if isinstance(message, Reply) and message.operation == operation and message.event_type:
            wrong = _tag(definition, message.step, operation, is_refusal=is_refusal)
            if message.event_type == wrong:
                message = _instead(definition, message.step, operation, is_refusal=not is_refusal) or message
        return decide(definition, instance, message, now_ms)

    return bug


def _timeout_taken_for(*, is_refusal: bool, kinds: Sequence[str]) -> Bug:
    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        if isinstance(message, Fire) and message.kind == "timeout" and definition.steps[message.step].kind in kinds:
            message = _instead(definition, message.step, "do", is_refusal=is_refusal) or message
        return decide(definition, instance, message, now_ms)

    return bug


def without(wanted: Callable[[Any], bool]) -> Bug:
    """Effects are forgotten."""

    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        decision = decide(definition, instance, message, now_ms)
        return msgspec.structs.replace(decision, effects=tuple(e for e in decision.effects if not wanted(e)))

    return bug


def _is_timer(effect: Any) -> bool:
    return isinstance(effect, SetTimer)


def _sent(changed: Callable[[Send], Send]) -> Bug:
    """Commands are sent otherwise."""

    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        decision = decide(definition, instance, message, now_ms)
        effects = tuple(changed(e) if isinstance(e, Send) else e for e in decision.effects)
        return msgspec.structs.replace(decision, effects=effects)

    return bug


def _other_command(send: Send) -> Send:
    if send.attempt == 1 or not hasattr(send.command, "nights"):
        return send
    command: Any = msgspec.structs.replace(send.command, nights=send.attempt)
    body = msgspec.json.encode({**msgspec.json.decode(send.body), "nights": send.attempt})
    return msgspec.structs.replace(send, command=command, body=body)


def _turns_back(wanted: Callable[[Definition, Instance, Input], bool]) -> Bug:
    """Turns back where it must not: as if the first step were still to be cancelled."""

    def bug(decide: Decide, definition: Definition, instance: Instance, message: Input, now_ms: int) -> Decision:
        if not wanted(definition, instance, message):
            return decide(definition, instance, message, now_ms)
        first = next(iter(definition.steps))
        before = msgspec.structs.replace(instance, state=f"{first}.pending")
        word = Operate(action="cancel", who="a bug", reason="", revision=instance.revision)
        decision = decide(definition, before, word, now_ms)
        moves = tuple(msgspec.structs.replace(m, source=instance.state) for m in decision.moves[:1])
        return msgspec.structs.replace(decision, moves=moves)

    return bug


def _is_behind_or_at_the_pivot(definition: Definition, instance: Instance) -> bool:
    place = definition.places.get(instance.state)
    return place is not None and place.phase != "undoing" and definition.steps[place.step].kind != "compensatable"


def _cancel_after_the_pivot(definition: Definition, instance: Instance, message: Input) -> bool:
    return (
        isinstance(message, Operate) and message.action == "cancel" and _is_behind_or_at_the_pivot(definition, instance)
    )


def _timeout_behind_the_pivot(definition: Definition, instance: Instance, message: Input) -> bool:
    return isinstance(message, Fire) and message.kind != "deadline" and _is_behind_or_at_the_pivot(definition, instance)


def _unreadable_behind_the_pivot(definition: Definition, instance: Instance, message: Input) -> bool:
    return (
        isinstance(message, Reply)
        and message.event_type == UNDELIVERABLE
        and definition.steps[message.step].kind == "retriable"
        and instance.state == f"{message.step}.pending"
    )


def _success_goes_on(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Decision:
    """A success that comes while its undo is out sends the run forward again."""
    if isinstance(message, Reply) and message.operation == "do" and instance.state == f"{message.step}.undoing":
        forward = decide(definition, msgspec.structs.replace(instance, state=f"{message.step}.pending"), message, now)
        return msgspec.structs.replace(forward, moves=())
    return decide(definition, instance, message, now)


def _answer_to_whatever(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Any:
    """A repeated answer is taken for the answer to what is asked now."""
    place = definition.places.get(instance.state)
    if isinstance(message, Reply) and message.operation == "do" and place is not None and place.phase == "pending":
        record = instance.step(message.step)
        if record is not None and record.effect == "done":
            message = msgspec.structs.replace(message, step=place.step)
    return decide(definition, instance, message, now)


def _undo_not_awaited(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Decision:
    """Goes on as soon as the undo is sent."""
    decision = decide(definition, instance, message, now)
    after = decision.instance
    place = definition.places.get(after.state) if after is not None else None
    if after is None or place is None or place.phase != "undoing":
        return decision
    answer = _instead(definition, place.step, "undo", is_refusal=False)
    assert answer is not None
    further = decide(definition, after, answer, now)
    return msgspec.structs.replace(
        further, effects=(*decision.effects, *further.effects), moves=(*decision.moves, *further.moves)
    )


def _stuck_for_ever(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Decision:
    if isinstance(message, Operate) and instance.is_stuck and message.action != "abandon":
        return Decision(instance=instance, verdict="violation")
    return decide(definition, instance, message, now)


def _raises_when_late(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Decision:
    if isinstance(message, Reply) and instance.state in ENDS:
        raise KeyError(message.step)
    return decide(definition, instance, message, now)


def _late_is_wrong(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Decision:
    decision = decide(definition, instance, message, now)
    return msgspec.structs.replace(decision, verdict="violation") if decision.verdict == "late" else decision


def _resolved_is_the_end(decide: Decide, definition: Definition, instance: Instance, message: Input, now: int) -> Any:
    """Resolving what it is stuck over ends the run, whatever else is still to be undone."""
    decision = decide(definition, instance, message, now)
    if isinstance(message, Operate) and message.action == "resolve-undone" and decision.instance is not None:
        ended = msgspec.structs.replace(decision.instance, state=COMPENSATED)
        return msgspec.structs.replace(decision, instance=ended, effects=(), moves=())
    return decision


KERNEL = (
    kernel_rule("a timeout is a refusal", _timeout_taken_for(is_refusal=True, kinds=("compensatable",))),
    kernel_rule("a timeout is a success", _timeout_taken_for(is_refusal=False, kinds=("compensatable",))),
    kernel_rule("a pivot's timeout is a refusal", _timeout_taken_for(is_refusal=True, kinds=("pivot",))),
    kernel_rule("a pivot's timeout is a success", _timeout_taken_for(is_refusal=False, kinds=("pivot",))),
    kernel_rule("a fault is a refusal", _taken_for("do", FAULT, is_refusal=True)),
    kernel_rule("in progress is done", _taken_for("do", IN_PROGRESS, is_refusal=False)),
    kernel_rule("in progress is a refusal", _taken_for("do", IN_PROGRESS, is_refusal=True)),
    kernel_rule("unreadable is done", _taken_for("do", UNDELIVERABLE, is_refusal=False)),
    kernel_rule("a fault of an undo is undone", _taken_for("undo", FAULT, is_refusal=False)),
    kernel_rule("an unreadable undo is undone", _taken_for("undo", UNDELIVERABLE, is_refusal=False)),
    kernel_rule("a refused undo is undone", _said_otherwise("undo", is_refusal=True)),
    kernel_rule("a refusal is a success", _said_otherwise("do", is_refusal=True)),
    kernel_rule("a success is a refusal", _said_otherwise("do", is_refusal=False)),
    kernel_rule("a lost command is not sent again", without(lambda e: _is_timer(e) and e.fire.kind == "resend")),
    kernel_rule("a lost undo is not sent again", without(lambda e: _is_timer(e) and e.fire.operation == "undo")),
    kernel_rule("a step has no timer", without(lambda e: _is_timer(e) and bool(e.fire.step))),
    kernel_rule("the undo is not sent", without(lambda e: isinstance(e, Send) and e.operation == "undo")),
    kernel_rule("a resend has a fresh id", _sent(lambda s: msgspec.structs.replace(s, id=f"{s.id}-{s.attempt}"))),
    kernel_rule("a resend asks something else", _sent(_other_command), "trip"),
    kernel_rule("a cancel after the pivot turns back", _turns_back(_cancel_after_the_pivot)),
    kernel_rule("a timer after the pivot turns back", _turns_back(_timeout_behind_the_pivot)),
    kernel_rule("unreadable after the pivot turns back", _turns_back(_unreadable_behind_the_pivot)),
    kernel_rule("a late success goes forward again", _success_goes_on),
    kernel_rule("a repeat answers what is asked now", _answer_to_whatever),
    kernel_rule("an undo is not awaited", _undo_not_awaited),
    kernel_rule("stuck has no way out", _stuck_for_ever),
    kernel_rule("a late answer raises", _raises_when_late),
    kernel_rule("a late answer is a violation", _late_is_wrong),
    kernel_rule("resolving one effect ends the run", _resolved_is_the_end, "uH"),
)


# --------------------------------------------------------------------------- in the course


def altered_edges(changed: Callable[[Edge], Edge | None]) -> Callable[[Definition], Definition]:
    """The same saga with other moves: drawing, machine and table agree, and are wrong together."""

    def alter(definition: Definition) -> Definition:
        edges = tuple(edge for edge in map(changed, definition.edges) if edge is not None)
        machine = machine_of(definition.name, edges)
        return replace(definition, edges=edges, machine=machine, table=table_of(machine))

    return alter


def _course(name: str, changed: Callable[[Edge], Edge | None], saga: str = "uuP") -> Rule:
    return Rule(mutant=Mutant(name=name, replaced={}), altered=altered_edges(changed), sagas=(saga,))


def _to(dest: str, *, source: str, was: str) -> Callable[[Edge], Edge]:
    return lambda edge: edge._replace(dest=dest) if edge.source == source and edge.dest == was else edge


def _swapped(edge: Edge) -> Edge:
    """The older step is undone first."""
    back = {
        ("s2.pending", "s1.undoing"): "s0.undoing",
        ("s0.undoing", COMPENSATED): "s1.undoing",
        ("s1.undoing", "s0.undoing"): COMPENSATED,
    }
    return edge._replace(dest=back.get((edge.source, edge.dest), edge.dest))


def _without_ways_out(edge: Edge) -> Edge | None:
    is_way_out = edge.source == STUCK and edge.kind == "operator" and edge.dest != ABANDONED
    return None if is_way_out else edge


def _undrawn(definition: Definition) -> Definition:
    """The table that runs has a move that is not in the drawing."""
    return replace(definition, table={**definition.table, ("s0.pending", "s0.Refused"): COMPLETED})


COURSE = (
    _course("a step is left out of the way back", _to("s0.undoing", source="s2.pending", was="s1.undoing")),
    _course("the way back completes the run", _to(COMPLETED, source="s1.undoing", was="s0.undoing")),
    _course("undone in the wrong order", _swapped),
    _course("a refusal completes the run", _to(COMPLETED, source="s0.pending", was="rejected"), "uP"),
    _course("a timed out step is passed over", _to("s0.undoing", source="s1.pending", was="s1.undoing")),
    _course("there is no way out of stuck", _without_ways_out, "cP"),
    Rule(mutant=Mutant(name="a move is not drawn", replaced={}), altered=_undrawn, sagas=("uP",)),
)


# --------------------------------------------------------------------------- in the barrier


def _met(changed: Callable[[Any], str]) -> Callable[[Any], Any]:
    """`changed` says what a command meets given what is remembered, "" for what it meets otherwise."""

    def make(original: Any) -> Any:
        def meet(known: Any, body_hash: bytes, **options: Any) -> Any:
            return (known is not None and changed(known)) or original(known, body_hash, **options)

        return meet

    return make


def _undoing(changed: Callable[[str], str]) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def something_to_undo(do: Any, is_refused: bool) -> Any:
            found = original(do, is_refused)
            return changed(found) or found

        return something_to_undo

    return make


def _refuses_anyway(original: Any) -> Any:
    def refuse(known: Any) -> str:
        return "refuse"

    return refuse


def _barrier(name: str, function: str, make: Callable[[Any], Any], *sagas: str) -> Rule:
    mutant = Mutant(name=name, replaced={f"sagas.core.barrier:{function}": make})
    return Rule(mutant=mutant, sagas=sagas) if sagas else Rule(mutant=mutant)


def _undo_rule(name: str, was: str, becomes: str) -> Rule:
    return _barrier(name, "something_to_undo", _undoing(lambda found: becomes if found == was else ""))


BARRIER = (
    _barrier("nothing is remembered", "meet", _met(lambda known: "carry out")),
    _barrier(
        "a refusal is not remembered", "meet", _met(lambda known: "carry out" if "refused" in known.answer else "")
    ),
    _barrier("a success is not remembered", "meet", _met(lambda known: "carry out" if "done" in known.answer else "")),
    _barrier("an undo is not remembered", "meet", _met(lambda known: "carry out" if "undone" in known.answer else "")),
    _barrier(
        "unreadable is not remembered", "meet", _met(lambda known: "carry out" if known.answer == UNDELIVERABLE else "")
    ),
    _barrier("a blocked do is carried out", "meet", _met(lambda known: "carry out" if known.is_blocked else "")),
    _barrier("an answer is not given again", "meet", _met(lambda known: "blocked" if known.answer else "")),
    _barrier("what was done can be refused", "refuse", _refuses_anyway),
    _undo_rule("an undo before its do does not block it", "block the do", "nothing"),
    _undo_rule("an undo of nothing is carried out", "block the do", "take back"),
    _undo_rule("a refused do is taken back", "nothing", "take back"),
    _undo_rule("a done do is not taken back", "take back", "nothing"),
    _undo_rule("what is in progress is passed over", "take back what is in progress", "nothing"),
)

RULES = {rule.name: rule for rule in (*KERNEL, *COURSE, *BARRIER)}
