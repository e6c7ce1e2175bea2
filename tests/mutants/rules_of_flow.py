"""Bugs of lists, waits and delays, for `sagas check` to find."""

from collections.abc import Callable
from typing import Any

from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import SetTimer
from sagas.core.fanout import outcome
from sagas.core.instance import COMPLETED, StepRecord
from sagas.core.machine import Edge
from sagas.core.outcomes import DONE, PARTLY_REFUSED, REFUSED
from sagas.core.turn import Turn, send_undo
from tests.core.courses import Maker
from tests.core.parcels import SAGAS
from tests.mutants.mutant import Mutant, always
from tests.mutants.rules import Rule, altered_edges, kernel_rule, without

Records = tuple[StepRecord, ...]


def waiting() -> Definition:
    """`a >> word >> b`: no signal means no."""
    maker = Maker("waiting")
    a, b = maker.step("a"), maker.step("b")
    return maker.close(a >> maker.wait(absence="refusal") >> b)


def delaying() -> Definition:
    """`a >> pause >> b`."""
    maker = Maker("delaying")
    a, b = maker.step("a"), maker.step("b")
    return maker.close(a >> maker.pause() >> b)


FLOWS: dict[str, Callable[[], Definition]] = {"waiting": waiting, "delaying": delaying}


def flow_of(name: str) -> Definition | None:
    """One of these sagas, or of those with a list, by its name; None for any other."""
    if name in SAGAS:
        return SAGAS[name].definition
    return FLOWS[name]() if name in FLOWS else None


def _come_to(wrong: Callable[[Records], str]) -> dict[str, Callable[[Any], Any]]:
    """What a list has come to is said wrong, wherever it is asked."""

    def make(original: Any) -> Any:
        return wrong

    return {"sagas.core.entering:outcome": make, "sagas.core.fanout:outcome": make}


def _one_is_enough(records: Records) -> str:
    return DONE if any(r.effect == "done" for r in records) else outcome(records)


def _refusals_are_passed_over(records: Records) -> str:
    return DONE if all(r.effect in ("done", "refused") for r in records) else outcome(records)


def _others_are_left(records: Records) -> str:
    return outcome(records).replace(PARTLY_REFUSED, REFUSED)


def _nothing_is_waited_for(records: Records) -> str:
    return outcome(records) if records else ""


def _undo_one(original: Any) -> Any:
    def undo(turn: Turn, spec: StepSpec) -> bool:
        standing = [record for record in turn.instance.records_of(spec.name) if record.is_open]
        for record in standing[:1]:
            send_undo(turn, spec, turn.record(record, undo_sent_ms=turn.now_ms))
        return bool(standing)

    return undo


def _list(name: str, replaced: dict[str, Callable[[Any], Any]], *sagas: str) -> Rule:
    return Rule(mutant=Mutant(name=name, replaced=replaced), sagas=sagas or ("first",))


def _without(name: str, effect: Callable[[Any], bool], saga: str) -> Rule:
    return kernel_rule(name, without(effect), saga)


def _course(name: str, changed: Callable[[Edge], Edge], saga: str) -> Rule:
    return Rule(mutant=Mutant(name=name, replaced={}), altered=altered_edges(changed), sagas=(saga,))


def _to(dest: str, source: str, was: str) -> Callable[[Edge], Edge]:
    return lambda edge: edge._replace(dest=dest) if (edge.source, edge.dest) == (source, was) else edge


FLOW = (
    _list("one item that is done is all", _come_to(_one_is_enough)),
    _list("an item that is refused is passed over", _come_to(_refusals_are_passed_over)),
    _list("the others of a refused item are left as they are", _come_to(_others_are_left), "last, asking"),
    _list("a list without items is never done", _come_to(_nothing_is_waited_for)),
    _list("only one item is undone", {"sagas.core.entering:undo_items": _undo_one}),
    _list("one item that is undone is all", {"sagas.core.replies:is_undone": always(value=True)}, "last, asking"),
    _list(
        "an item that is asked about is not asked again",
        {"sagas.core.happenings:_ask_about_item": always(value=None)},
        "last, asking",
    ),
    _without("a wait has no timer", lambda e: isinstance(e, SetTimer) and e.fire.kind == "absent", "waiting"),
    _without("a delay has no timer", lambda e: isinstance(e, SetTimer) and e.fire.kind == "over", "delaying"),
    _course("a signal that refuses completes the run", _to(COMPLETED, "word.waiting", "a.undoing"), "waiting"),
    _course("what stands behind a wait is left out", _to(COMPLETED, "word.waiting", "b.pending"), "waiting"),
    _course("what stands behind a delay is left out", _to(COMPLETED, "pause.delaying", "b.pending"), "delaying"),
)
