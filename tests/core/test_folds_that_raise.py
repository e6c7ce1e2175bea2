"""A fold that raises: the answer counts as not taken yet, so that it is asked for again and never passed over."""

from dataclasses import replace
from typing import Any

from sagas.core.definition import Definition
from sagas.core.effects import Decision, Fire, Input, Operate, Reply, Send, Start
from sagas.core.instance import COMPENSATED, COMPLETED, STUCK, Instance
from sagas.core.kernel import decide
from tests.core.courses import Data, Maker

NOW_MS = 1_000_000


def fails(*_: object) -> Any:
    raise ValueError("a defect")


def keeps_it(data: Data, reply: Any) -> Data:
    return Data(data.k, data.says_yes, 77.0)


class Run:
    """A run whose author's functions fail and are mended meanwhile: `defects` are by step and field."""

    def __init__(self, definition: Definition) -> None:
        self._plain = definition
        self._defects: set[tuple[str, str]] = set()
        self._now_ms = NOW_MS
        self.decision: Decision = decide(
            definition, None, Start(key="k-1", data=definition.encode_data(Data("k-1"))), NOW_MS
        )

    @property
    def instance(self) -> Instance:
        assert self.decision.instance is not None
        return self.decision.instance

    @property
    def sent(self) -> list[str]:
        return [f"{e.step} {e.operation}" for e in self.decision.effects if isinstance(e, Send)]

    @property
    def pause_s(self) -> float:
        data: Data = self._plain.decode_data(self.instance.data)
        return data.pause_s

    def effect(self, step: str) -> str:
        record = self.instance.step(step)
        return record.effect if record is not None else ""

    def breaks(self, step: str, field: str = "fold") -> "Run":
        self._defects.add((step, field))
        return self

    def mend(self, step: str, field: str = "fold") -> "Run":
        self._defects.discard((step, field))
        return self

    def take(self, message: Input) -> "Run":
        steps = dict(self._plain.steps)
        for step, spec in self._plain.steps.items():
            changed: dict[str, Any] = {"fold": keeps_it} if step == "b" else {}
            changed |= {field: fails for name, field in self._defects if name == step}
            steps[step] = replace(spec, **changed)
        self._now_ms += 1_000
        self.decision = decide(replace(self._plain, steps=steps), self.instance, message, self._now_ms)
        return self

    def say(self, step: str, word: str) -> "Run":
        operation: Any = "undo" if word == "undone" else "do"
        return self.take(Reply(step=step, operation=operation, event_type=f"{step}.{word}", data=b"{}"))

    def person(self, action: Any) -> "Run":
        return self.take(Operate(action=action, who="ann", reason="mended", revision=self.instance.revision))

    def time_out(self, step: str) -> "Run":
        record = self.instance.step(step)
        assert record is not None
        return self.take(Fire(kind="timeout", step=step, attempt=record.attempts))


def two_lanes(**b: Any) -> Definition:
    """`(a & b) >> c`."""
    m = Maker()
    a, c = m.step("a"), m.step("c")
    return m.close((a & m.step("b", **b)) >> c)


def test_an_answer_that_was_not_folded_is_not_passed_over_when_the_run_gets_stuck_before_it() -> None:
    run = Run(two_lanes()).breaks("b").say("b", "done")
    assert (run.instance.state, run.instance.stuck_step, run.effect("b")) == (STUCK, "b", "intended")
    run.mend("b").breaks("a", "build").person("retry")
    assert (run.instance.state, run.instance.stuck_step) == (STUCK, "a")
    run.mend("a", "build").person("retry")
    assert (run.instance.state, run.sent) == ("a.pending|b.pending", ["a do", "b do"])
    assert run.say("b", "done").pause_s == 77.0
    assert run.say("a", "done").instance.state == "c.pending"


def test_a_refusal_that_was_not_folded_is_not_passed_over_either() -> None:
    run = Run(two_lanes(unknown="hold")).breaks("b").say("b", "refused")
    run.mend("b").breaks("a", "build").person("retry").mend("a", "build").person("retry")
    assert run.sent == ["a do", "b do"]
    assert run.say("b", "refused").pause_s == 77.0


def test_what_was_done_is_undone_though_its_answer_could_not_be_folded() -> None:
    run = Run(two_lanes()).breaks("b").say("b", "done")
    run.person("retry").person("cancel")
    assert run.instance.state == "a.undoing|b.undoing"
    run.say("a", "undone").say("b", "undone")
    assert (run.instance.state, run.effect("b")) == (COMPENSATED, "undone")


def test_the_answer_that_comes_again_while_its_fold_is_not_mended_changes_nothing() -> None:
    run = Run(two_lanes()).breaks("b").say("b", "done")
    before = run.instance
    assert run.say("b", "done").decision.verdict == "duplicate"
    assert (run.instance.steps, run.instance.reason) == (before.steps, before.reason)


def test_an_answer_to_a_step_that_could_not_be_sent_again_is_asked_for_once_more() -> None:
    """Its command went out before the retry whose build raised; nothing of its answer is kept."""
    run = Run(two_lanes()).breaks("b").say("b", "done").breaks("b", "build").person("retry")
    assert (run.instance.state, run.instance.stuck_step) == (STUCK, "b")
    assert run.say("b", "done").decision.verdict == "late"
    assert run.effect("b") == "intended"
    run.mend("b").mend("b", "build").person("retry")
    assert "b do" in run.sent


def test_an_answer_to_a_step_that_is_held_says_that_its_fold_raised_and_frees_the_run_once_it_is_mended() -> None:
    m = Maker()
    run = Run(m.close(m.step("b", unknown="hold"))).time_out("b")
    assert run.instance.reason == "b: no answer in 1.0 s"
    run.breaks("b").say("b", "done")
    assert (run.decision.verdict, run.instance.state) == ("violation", STUCK)
    assert run.instance.reason == "b: folding DoneB raised ValueError: a defect"
    run.mend("b").say("b", "done")
    assert (run.instance.state, run.instance.reason, run.pause_s) == (COMPLETED, "", 77.0)
