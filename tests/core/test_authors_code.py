"""A saga's own functions that raise: the run they raise for waits for a person with the reason, and can go on."""

from typing import Any

import msgspec
import pytest

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.core.effects import Decision, Fire, Input, Operate, Reply, Send, SetTimer, Signal, Start
from sagas.core.instance import STUCK, Instance
from sagas.core.kernel import decide
from sagas.core.messages import tag_of

NOW_MS = 1_000_000
DESK = Participant("desk", key="k")


class Asked(Event, tag="asked"):
    k: str


class Done(Event, tag="done"):
    k: str


class Refused(Rejection, tag="refused"):
    k: str


class Do(Command[Done | Refused], tag="do"):
    k: str


class Freed(Event, tag="freed"):
    k: str


class Free(Command[Freed], tag="free"):
    k: str


class Agreed(Event, tag="agreed"):
    k: str
    by: str = "ann"


class Data(msgspec.Struct, frozen=True):
    """`parts`, `seconds` and `names` break the decision, the delay and the wait where they are empty."""

    k: str
    parts: tuple[int, ...] = (1,)
    seconds: tuple[float, ...] = (5.0,)
    names: tuple[str, ...] = ("ann",)
    by: str = ""


def is_first(data: Data) -> bool:
    return data.parts[0] == 1


def pause(data: Data) -> float:
    return data.seconds[0]


def word(data: Data, signal: Agreed) -> Data:
    return msgspec.structs.replace(data, by=data.names[0])


def build_saga(absence: Any = "refusal") -> Saga[Data]:
    """`first >> (second if is_first) >> word >> pause >> last`."""
    saga: Saga[Data] = Saga("tale", Data, version=1, key="k")

    @saga.start(on=DESK)
    def begin(event: Asked) -> Data:
        return Data(event.k)

    @saga.step(to=DESK, timeout=9, unknown="undo")
    def first(data: Data) -> Do:
        return Do(k=data.k)

    @first.undo
    def _(data: Data) -> Free:
        return Free(k=data.k)

    @saga.step(to=DESK, timeout=9, unknown="undo", leaves_nothing=True)
    def second(data: Data) -> Do:
        return Do(k=data.k)

    @saga.step(to=DESK, timeout=9, unknown="undo", leaves_nothing=True)
    def last(data: Data) -> Do:
        return Do(k=data.k)

    for step in (first, second, last):
        step.reply(unchanged)
    waiting = saga.wait(on=DESK, timeout=30, absence=absence)(word)
    saga.flow(first >> saga.when(is_first, second) >> waiting >> saga.delay(pause) >> last)
    return saga


TALE = build_saga().definition
HELD = build_saga("hold").definition


class Run:
    """A run in the making; each call is one input, and says what was decided."""

    def __init__(self, definition: Any = TALE, **data: Any) -> None:
        self._definition = definition
        self._now_ms = NOW_MS
        self.decision = decide(
            definition, None, Start(key="k-1", data=definition.encode_data(Data("k-1", **data))), NOW_MS
        )

    @property
    def instance(self) -> Instance:
        assert self.decision.instance is not None
        return self.decision.instance

    def take(self, message: Input) -> "Run":
        self._now_ms += 1_000
        self.decision = decide(self._definition, self.instance, message, self._now_ms)
        return self

    def done(self, step: str) -> "Run":
        return self.take(Reply(step=step, operation="do", event_type=tag_of(Done), data=b"{}"))

    def agreed(self, data: bytes = b"{}") -> "Run":
        return self.take(Signal(event_type=tag_of(Agreed), data=data))

    def person(self, action: Any) -> "Run":
        return self.take(Operate(action=action, who="ann", reason="mended", revision=self.instance.revision))

    def mend(self, **data: Any) -> "Run":
        """What a new release would do: the functions raise no more. Here it is the data."""
        mended = msgspec.structs.replace(self.instance, data=self._definition.encode_data(Data("k-1", **data)))
        self.decision = msgspec.structs.replace(self.decision, instance=mended)
        return self


def sent(decision: Decision) -> list[str]:
    return [effect.step for effect in decision.effects if isinstance(effect, Send)]


def test_a_decision_that_raises_waits_for_a_person_and_is_made_when_it_is_retried() -> None:
    run = Run(parts=()).done("first")
    assert (run.instance.state, run.instance.reason) == (
        STUCK,
        "is_first: its predicate raised IndexError: tuple index out of range",
    )
    assert run.person("resolve-done").decision.note == (
        "'is_first' is a decision: retry it once its code is mended, or abandon the run"
    )
    assert sent(run.mend(parts=(1,)).person("retry").decision) == ["second"]


def test_a_delay_that_raises_waits_for_a_person_who_may_call_it_over() -> None:
    run = Run(seconds=()).done("first").done("second").agreed()
    assert run.instance.reason == "pause: its function raised IndexError: tuple index out of range"
    assert sent(run.person("resolve-done").decision) == ["last"]


def test_a_delay_of_no_time_is_over_at_once() -> None:
    run = Run(seconds=(0.0,)).done("first").done("second").agreed()
    assert sent(run.decision) == ["last"]
    assert not any(isinstance(e, SetTimer) and e.fire.kind == "over" for e in run.decision.effects)


def test_a_signal_whose_fold_raises_waits_for_a_person_who_may_turn_the_run_back() -> None:
    run = Run(names=()).done("first").done("second").agreed()
    assert run.instance.reason == "word: folding Agreed raised IndexError: tuple index out of range"
    run.person("resolve-undone")
    assert run.instance.cause == "word: resolved by ann: mended"
    assert sent(run.decision) == ["first"], "its undo"


def test_a_signal_whose_fold_raises_is_read_again_when_the_run_is_retried() -> None:
    run = Run(names=()).done("first").done("second").agreed(b'{"by":"bob"}')
    assert run.instance.state == STUCK
    assert run.agreed().decision.verdict == "duplicate"
    run.mend().person("retry")
    assert run.instance.state == "pause.delaying"
    assert run.instance.mark("word") == "Agreed"


def test_a_signal_whose_fold_raises_while_a_person_is_waited_for_is_a_violation_and_the_run_waits_on() -> None:
    run = Run(HELD, names=()).done("first").done("second").take(Fire(kind="absent", step="word"))
    assert run.instance.state == STUCK
    run.agreed()
    assert (run.decision.verdict, run.decision.note) == (
        "violation",
        "folding Agreed raised IndexError: tuple index out of range",
    )
    assert run.instance.state == STUCK
    assert run.mend().agreed().instance.state == "pause.delaying"


def test_a_signal_that_cannot_be_read_is_a_violation_and_the_wait_goes_on() -> None:
    run = Run().done("first").done("second").agreed(b'{"by":7}')
    assert run.decision.verdict == "violation"
    assert "agreed" in run.decision.note
    assert run.instance.state == "word.waiting"


def test_a_wait_that_a_person_has_ended_counts_as_its_first_signal_that_says_yes() -> None:
    run = Run(HELD).done("first").done("second").take(Fire(kind="absent", step="word")).person("resolve-done")
    assert run.instance.state == "pause.delaying"
    assert run.instance.mark("word") == "Agreed"
    assert run.agreed().decision.verdict == "duplicate"


def test_a_pause_that_has_ended_is_not_ended_again() -> None:
    run = Run().done("first").done("second").agreed().take(Fire(kind="over", step="pause"))
    assert run.instance.state == "last.pending"
    assert run.take(Fire(kind="over", step="pause")).decision.verdict == "late"


def test_an_answer_of_which_nothing_is_kept_leaves_the_data_as_they_lie() -> None:
    run = Run()
    # As an older class wrote them, that had fewer fields: nobody has anything to write into them.
    lying = b'{"k":"k-1","parts":[2]}'
    run.decision = msgspec.structs.replace(run.decision, instance=msgspec.structs.replace(run.instance, data=lying))
    assert run.done("first").instance.data == lying
    assert run.agreed().instance.data != lying, "the wait's fold keeps who agreed"


def test_an_answer_of_which_nothing_is_kept_frees_a_run_from_what_it_was_stuck_over() -> None:
    run = Run(parts=())
    stuck = run.done("first").instance
    assert (stuck.state, stuck.stuck_step, bool(stuck.reason)) == (STUCK, "is_first", True)
    freed = Run()
    asked = msgspec.structs.replace(freed.instance, reason="of before", stuck_step="first", stuck_from="first.pending")
    freed.decision = msgspec.structs.replace(freed.decision, instance=asked)
    after = freed.done("first").instance
    assert (after.reason, after.stuck_step, after.stuck_from) == ("", "", "")


class Miscounted(msgspec.Struct, frozen=True):
    """Of another class than the saga's own data."""

    k: str


def _folded_to(data: Any) -> Any:
    saga: Saga[Data] = Saga("tale", Data, version=1, key="k")

    @saga.start(on=DESK)
    def begin(event: Asked) -> Data:
        return Data(event.k)

    @saga.step(to=DESK, timeout=9, unknown="undo", leaves_nothing=True)
    def first(data: Data) -> Do:
        return Do(k=data.k)

    @first.reply
    def _(before: Data, reply: Done | Refused) -> Data:
        return data  # type: ignore[no-any-return]

    saga.flow(first)
    return saga.definition


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "TypeError: it returned NoneType, expected Data"),
        (Miscounted(k="k-1"), "TypeError: it returned Miscounted, expected Data"),
        (Data(k="k-1", parts=("one",)), "ValidationError: Expected `int`, got `str`"),  # type: ignore[arg-type]
    ],
)
def test_a_fold_that_returns_no_data_is_as_one_that_raises_and_the_data_stay(data: Any, says: str) -> None:
    run = Run(_folded_to(data))
    before = run.instance.data
    run.done("first")
    assert run.instance.state == STUCK
    assert says in run.instance.reason
    assert run.instance.reason.startswith("first: folding Done raised")
    assert run.instance.data == before, "the next release can fold the answer into them"
