"""Runs that went by a second way, by silence or by an answer, and what a newer version says of what is behind them."""

from collections.abc import Callable

from msgspec.structs import replace

from sagas.core.carrying import problems
from sagas.core.definition import Definition, Unknown
from sagas.core.flow import Flow
from sagas.core.rollout import step_reports
from sagas.core.shape import SagaShape, shape_of
from sagas.testing import Scenario
from tests.core.courses import PLACE, Agreed, Begun, Data, Denied, Maker

Course = Callable[[Maker], Flow[Data]]
Story = Callable[[Maker, Scenario[Data]], object]


def version(course: Course, number: int) -> tuple[Maker, Definition]:
    maker = Maker()
    flow = course(maker)
    maker.saga.version = number
    return maker, maker.close(flow)


def said(before: Course, after: Course, story: Story, old_shape: Callable[[SagaShape], SagaShape] = lambda s: s) -> str:
    """Why a run with this story cannot go on, "" where it can."""
    maker, old = version(before, 1)
    _, new = version(after, 2)
    told = Scenario(maker.saga).start_event(Begun(k="k-1"))
    story(maker, told)
    return " ".join(p.text for p in problems(old_shape(shape_of(old)), shape_of(new), {}, told.instance))


def answers(*words: str) -> Story:
    """`a.Refused`, in their order; `word` alone: its time passes."""

    def story(maker: Maker, told: Scenario[Data]) -> None:
        for said in words:
            step, _, word = said.partition(".")
            if word:
                told.late(step, maker.reply(step, word)(k="k-1")).expect_verdict("advance")
            else:
                told.fires(step)

    return story


def put_in(step: str) -> str:
    return f"step {step!r} was put in before where it stands, and it has not done that"


def two_ways(m: Maker) -> Flow[Data]:
    return (m.step("a") >> m.step("b") | m.step("c")) >> m.step("d")


def two_ways_that_ask(m: Maker) -> Flow[Data]:
    return (m.step("a") >> m.step("b") | m.step("c")) >> m.step("d", unknown="ask")


def test_a_run_that_went_by_the_second_way_goes_on_under_the_same_course() -> None:
    by_c = answers("a.Refused", "c.Done")
    assert said(two_ways, two_ways_that_ask, by_c) == ""
    by_c_after_undoing = answers("a.Done", "b.Refused", "a.Undone", "c.Done")
    assert said(two_ways, two_ways_that_ask, by_c_after_undoing) == ""


def test_a_run_that_is_on_the_second_way_lacks_what_was_put_in_before_both() -> None:
    def longer(m: Maker) -> Flow[Data]:
        return m.step("x") >> two_ways(m)

    assert said(two_ways, longer, answers("a.Refused")) == put_in("x")


def test_what_was_put_into_one_way_is_lacked_by_a_run_that_went_that_way_only() -> None:
    def first_longer(m: Maker) -> Flow[Data]:
        return (m.step("a") >> m.step("x") >> m.step("b") | m.step("c")) >> m.step("d")

    def second_longer(m: Maker) -> Flow[Data]:
        return (m.step("a") >> m.step("b") | m.step("c") >> m.step("x")) >> m.step("d")

    by_a, by_c = answers("a.Done", "b.Done"), answers("a.Refused", "c.Done")
    assert said(two_ways, first_longer, by_a) == put_in("x")
    assert said(two_ways, first_longer, by_c) == ""
    assert said(two_ways, second_longer, by_a) == ""
    assert said(two_ways, second_longer, by_c) == put_in("x")


def waiting(m: Maker, unknown: Unknown = "undo") -> Flow[Data]:
    return m.step("a") >> m.wait(absence="consent").on(Agreed, m.step("b")) >> m.step("d", unknown=unknown)


def objection(m: Maker) -> Flow[Data]:
    def word(data: Data, signal: Denied) -> Data:
        return data

    return m.saga.wait(on=PLACE, timeout=30, absence="consent")(word)


def test_a_run_that_went_by_silence_goes_on_under_the_same_course() -> None:
    silent = answers("a.Done", "word")
    assert said(waiting, lambda m: waiting(m, "ask"), silent) == ""


def test_a_run_that_went_past_an_objection_in_silence_lacks_what_was_put_in_before_it() -> None:
    def longer(m: Maker) -> Flow[Data]:
        return m.step("a") >> m.step("x") >> objection(m) >> m.step("d")

    def short(m: Maker) -> Flow[Data]:
        return m.step("a") >> objection(m) >> m.step("d")

    assert said(short, longer, answers("a.Done", "word")) == put_in("x")


def test_a_shape_of_an_earlier_release_knows_no_ways_and_is_read_as_it_was() -> None:
    by_c = answers("a.Refused", "c.Done")
    assert said(two_ways, two_ways_that_ask, by_c, lambda shape: replace(shape, ahead=())) == ""


def test_a_rollout_says_of_each_way_what_was_put_in() -> None:
    def longer(m: Maker) -> Flow[Data]:
        return m.step("x") >> two_ways(m)

    def first_longer(m: Maker) -> Flow[Data]:
        return (m.step("a") >> m.step("x") >> m.step("b") | m.step("c")) >> m.step("d")

    assert verdicts(two_ways, two_ways_that_ask) == dict.fromkeys("abcd", "continues unchanged")
    assert verdicts(two_ways, longer) == dict.fromkeys("abcd", "stranded")
    assert verdicts(two_ways, first_longer) == {
        "a": "continues unchanged",
        "b": "stranded",
        "c": "continues unchanged",
        "d": "stranded",
    }


def verdicts(before: Course, after: Course) -> dict[str, str]:
    reports = step_reports(version(before, 1)[1], version(after, 2)[1], is_old_kept=False)
    return {report.step: report.verdict for report in reports if report.change != "added"}
