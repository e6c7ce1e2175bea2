"""A run that was stuck begins its branches anew and passes over what the ledger and the marks say is behind it."""

from dataclasses import replace
from typing import Any

import pytest

from sagas.core.definition import Definition
from sagas.core.effects import Decision, Fire, Input, Operate, Reply, Send, Signal, Start
from sagas.core.instance import STUCK, Instance
from sagas.core.kernel import decide
from sagas.core.messages import tag_of
from sagas.core.turn import Turn
from sagas.errors import IllegalMove
from tests.core.courses import Agreed, Data, Maker

NOW_MS = 1_000_000


class Run:
    """A run in the making; each call is one input."""

    def __init__(self, definition: Definition, **data: Any) -> None:
        self.definition = definition
        self.now_ms = NOW_MS
        self.decision: Decision = decide(
            definition, None, Start(key="k-1", data=definition.encode_data(Data("k-1", **data))), NOW_MS
        )

    @property
    def instance(self) -> Instance:
        assert self.decision.instance is not None
        return self.decision.instance

    @property
    def sent(self) -> list[str]:
        """What the last input sent."""
        return [f"{e.step} {e.operation}" for e in self.decision.effects if isinstance(e, Send)]

    def take(self, message: Input) -> "Run":
        self.now_ms += 1_000
        self.decision = decide(self.definition, self.instance, message, self.now_ms)
        assert self.decision.verdict == "advance", self.decision.note
        return self

    def say(self, step: str, word: str) -> "Run":
        return self.take(Reply(step=step, operation="do", event_type=f"{step}.{word}", data=b"{}"))

    def time_out(self, step: str) -> "Run":
        record = self.instance.step(step)
        assert record is not None
        self.now_ms += 60_000
        return self.take(Fire(kind="timeout", step=step, attempt=record.attempts))

    def person(self, action: Any) -> "Run":
        return self.take(Operate(action=action, who="ann", reason="x", revision=self.instance.revision))


def held_beside(maker: Maker, *behind: Any) -> Definition:
    """`(… >> c) & h`, where nobody knows what it means that `h` does not answer, and `d` behind both."""
    lane = behind[0]
    for part in (*behind[1:], maker.step("c")):
        lane = lane >> part
    return maker.close((lane & maker.step("h", unknown="hold")) >> maker.step("d"))


def test_a_wait_that_has_ended_is_not_waited_for_again() -> None:
    maker = Maker()
    run = Run(held_beside(maker, maker.wait(absence="refusal")))
    run.take(Signal(event_type=tag_of(Agreed), data=b"{}"))
    assert run.instance.state == "c.pending|h.pending"
    assert run.time_out("h").instance.state == STUCK
    run.say("h", "done")
    assert run.instance.state == "c.pending"
    assert run.sent == ["c do"], "it is asked again: nothing was sent while the run was stuck"
    assert run.say("c", "done").instance.state == "d.pending"


def test_a_delay_that_is_over_is_not_paused_for_again() -> None:
    maker = Maker()
    run = Run(held_beside(maker, maker.pause()))
    run.take(Fire(kind="over", step="pause"))
    run.time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("c.pending", ["c do"])


def test_a_delay_that_a_person_called_over_is_not_reckoned_again() -> None:
    maker = Maker()
    definition = held_beside(maker, maker.pause())
    delays = {"pause": replace(definition.delays["pause"], seconds=raising)}
    run = Run(replace(definition, delays=delays))
    assert run.instance.stuck_step == "pause"
    run.person("resolve-done").time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("c.pending", ["c do"])


def raising(data: Data) -> float:
    raise ValueError("no length")


def test_a_step_that_a_person_called_done_is_passed_over_as_done() -> None:
    maker = Maker()
    run = Run(held_beside(maker, maker.step("a", unknown="hold")))
    run.time_out("a").person("resolve-done")
    assert run.instance.state == "c.pending|h.pending"
    run.time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("c.pending", ["c do"])
    record = run.instance.step("a")
    assert record is not None
    assert record.effect == "done"


def test_a_way_whose_effect_a_person_took_back_is_passed_over_as_refused() -> None:
    maker = Maker()
    a, b = maker.step("a", unknown="hold"), maker.step("b")
    run = Run(held_beside(maker, a | b))
    run.time_out("a").person("resolve-undone")
    assert run.instance.state == "b.pending|h.pending"
    run.time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("b.pending", ["b do"])
    assert run.say("b", "done").say("c", "done").instance.state == "d.pending"


def test_a_wait_that_ended_in_silence_and_holds_since_waits_for_a_person_with_the_reason() -> None:
    """The version that the run goes on under says otherwise what silence means."""
    older, newer = Maker(), Maker()
    run = Run(held_beside(older, older.wait(absence="consent")))
    run.take(Fire(kind="absent", step="word")).time_out("h")
    run.definition = held_beside(newer, newer.wait(absence="hold"))
    run.person("retry")
    assert (run.instance.state, run.instance.stuck_step) == (STUCK, "word")
    assert run.instance.reason == "word: no signal came"
    assert run.person("resolve-done").instance.state == "c.pending|h.pending"


def test_a_move_that_is_none_is_a_defect_of_the_engine_and_says_so() -> None:
    run = Run(_plain())
    with pytest.raises(IllegalMove, match=r"no move 'b\.DoneB' from state 'a\.pending'"):
        Turn(run.definition, run.instance, NOW_MS).move("b.DoneB")


def _plain() -> Definition:
    maker = Maker()
    a, b = maker.steps("ab")
    return maker.close(a >> b)


def branching(m: Maker, **changes: Any) -> Definition:
    """`(a.on(OtherA, b) & h) >> c`, with these changes to `a`."""
    a, b, c = m.step("a", unknown="hold"), *m.steps("bc")
    h = m.step("h", unknown="hold")
    definition = m.close((a.on(m.reply("a", "Other"), b) & h) >> c)
    return replace(definition, steps={**definition.steps, "a": replace(definition.steps["a"], **changes)})


def unfoldable(data: Data, reply: Any) -> Data:
    raise ValueError("no fold")


def test_a_step_that_a_person_calls_done_goes_by_its_answer_where_that_is_known() -> None:
    run = Run(branching(Maker(), fold=unfoldable)).say("a", "other")
    assert (run.instance.state, run.instance.stuck_step) == (STUCK, "a")
    run.person("resolve-done")
    assert run.instance.state == "b.pending|h.pending"
    run.time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("b.pending", ["b do"])


def test_an_answer_that_comes_after_a_persons_word_does_not_lead_into_another_branch() -> None:
    run = Run(branching(Maker())).time_out("a").person("resolve-done")
    assert run.instance.state == "h.pending"
    decision = decide(
        run.definition, run.instance, Reply(step="a", operation="do", event_type="a.other", data=b"{}"), run.now_ms
    )
    assert (decision.verdict, decision.note) == ("late", "a: OtherA came, as it was resolved by hand")
    run.decision = decision
    run.time_out("h").say("h", "done")
    assert (run.instance.state, run.sent) == ("c.pending", ["c do"])
