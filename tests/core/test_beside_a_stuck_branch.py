"""What happens in the other branches while a run is stuck over one: nothing of it is lost."""

from collections.abc import Callable

from sagas import Flow
from sagas.testing import Scenario
from tests.core.courses import Agreed, Begun, Data, Denied, Maker


def stuck_over_a() -> tuple[Maker, "Scenario[Data]"]:
    """`a & (b >> c) & word` is stuck over `a`, which was not answered; `b` and a signal are awaited."""
    maker = Maker()
    a, b, c = maker.step("a", unknown="hold"), maker.step("b", unknown="ask"), maker.step("c")
    maker.saga.flow(a & (b >> c) & maker.wait(absence="refusal"))
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    story.fires("a", kind="timeout")
    assert story.state == "stuck"
    return maker, story


def say(maker: Maker, story: "Scenario[Data]", *words: str) -> None:
    for word in words:
        step, _, reply = word.partition(".")
        story.late(step, maker.reply(step, reply)(k="k-1"))


def test_an_answer_is_kept_and_its_branch_goes_on_behind_it_when_the_run_is_freed() -> None:
    maker, story = stuck_over_a()
    say(maker, story, "b.Done")
    assert story.state == "stuck"
    say(maker, story, "a.Done")
    assert story.state == "c.pending|word.waiting"
    story.signal(Agreed(k="k-1"))
    say(maker, story, "c.Done")
    assert story.state == "completed"


def test_a_signal_is_kept_and_ends_its_wait_when_the_run_is_freed() -> None:
    maker, story = stuck_over_a()
    story.signal(Agreed(k="k-1")).expect_verdict("advance")
    say(maker, story, "a.Done")
    assert story.state == "b.pending"


def test_a_refusal_is_kept_and_turns_the_run_back_when_it_is_freed() -> None:
    maker, story = stuck_over_a()
    say(maker, story, "b.Refused")
    assert story.state == "stuck"
    say(maker, story, "a.Done")
    assert story.state == "a.undoing"
    assert story.instance.cause == "b: RefusedB"
    say(maker, story, "a.Undone")
    assert story.state == "compensated"


def test_an_undo_that_is_answered_beside_the_one_that_cannot_be_is_not_asked_for_again() -> None:
    maker = Maker()
    a, b = maker.step("a"), maker.step("b")
    maker.saga.flow((a & b) >> maker.step("c"))
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    say(maker, story, "a.Done", "b.Done", "c.Refused", "a.Kept")
    assert story.state == "stuck"
    say(maker, story, "b.Undone")
    asked = len(story.journal)
    say(maker, story, "a.Undone")
    assert story.state == "compensated"
    assert [sent.step for entry in story.journal[asked:] for sent in entry.sent] == []


def stuck_beside_ways(lane: Callable[[Maker], Flow[Data]]) -> tuple[Maker, "Scenario[Data]"]:
    """`(x & …) >> d` at its start: `x` is the step that a person is needed for."""
    maker = Maker()
    x, d = maker.step("x", unknown="hold"), maker.step("d")
    maker.saga.flow((x & lane(maker)) >> d)
    return maker, Scenario(maker.saga).start_event(Begun(k="k-1"))


def two_ways(maker: Maker) -> Flow[Data]:
    b, c = maker.steps("bc")
    return b | c


def test_a_way_that_is_being_undone_is_not_begun_anew_but_undone_to_its_end() -> None:
    maker, story = stuck_beside_ways(two_ways)
    story.fires("b", kind="timeout").fires("x", kind="timeout")
    story.operate("retry")
    assert story.state == "x.pending|b.reverting"
    assert [(sent.step, sent.operation) for sent in story.journal[-1].sent] == [("x", "do"), ("b", "undo")]
    say(maker, story, "b.Undone", "x.Done", "c.Done", "d.Done")
    assert story.state == "completed"
    assert (story.effect("b"), story.effect("c")) == ("undone", "done")


def test_a_success_that_came_after_its_undo_does_not_bring_the_way_back() -> None:
    maker, story = stuck_beside_ways(two_ways)
    story.fires("b", kind="timeout").fires("x", kind="timeout")
    say(maker, story, "b.Done", "x.Done")
    assert story.state == "b.reverting"
    say(maker, story, "b.Undone", "c.Done", "d.Done")
    assert story.state == "completed"
    assert (story.effect("b"), story.effect("c")) == ("undone", "done")


def test_a_step_that_is_undone_is_not_passed_over_by_its_success() -> None:
    maker, story = stuck_beside_ways(lambda make: make.step("b") >> make.step("e") | make.step("c"))
    story.fires("b", kind="timeout").fires("x", kind="timeout")
    say(maker, story, "b.Done", "b.Undone", "x.Done")
    assert story.state == "c.pending"
    say(maker, story, "c.Done", "d.Done")
    assert story.state == "completed"
    assert not story.said("e")


def test_a_way_that_left_nothing_is_not_gone_again_behind_the_next() -> None:
    maker, story = stuck_beside_ways(lambda make: make.step("b", has_undo=False) | make.step("c"))
    story.fires("b", kind="timeout").fires("x", kind="timeout")
    say(maker, story, "b.Done", "c.Done", "x.Done", "d.Done")
    assert story.state == "completed"
    assert story.effect("c") == "done"


def test_a_success_after_a_refusal_is_swept_out_though_the_run_was_stuck_meanwhile() -> None:
    maker, story = stuck_beside_ways(two_ways)
    say(maker, story, "b.Refused")
    story.fires("x", kind="timeout")
    say(maker, story, "b.Done", "c.Done", "x.Done")
    assert story.state == "d.pending"
    say(maker, story, "d.Done")
    assert story.state == "b.sweeping"
    say(maker, story, "b.Undone")
    assert story.state == "completed"


def test_a_branch_behind_a_refusal_stays_the_one_that_is_gone() -> None:
    maker = Maker()
    x, a, c, d = maker.step("x", unknown="hold"), *maker.steps("acd")
    maker.saga.flow((x & a.on(maker.reply("a", "Refused"), c)) >> d)
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    say(maker, story, "a.Refused")
    assert story.state == "x.pending|c.pending"
    say(maker, story, "a.Done")
    story.fires("x", kind="timeout")
    say(maker, story, "a.Done", "x.Done")
    assert story.state == "c.pending"
    say(maker, story, "c.Done", "d.Done", "a.Undone")
    assert story.state == "completed"
    assert (story.effect("a"), story.effect("c")) == ("undone", "done")


def test_a_way_whose_wait_a_person_ended_is_not_waited_for_again() -> None:
    maker, story = stuck_beside_ways(lambda make: make.wait(absence="hold") >> make.step("b") | make.step("c"))
    story.fires("word").operate("resolve-undone")
    assert story.state == "x.pending|c.pending"
    story.fires("x", kind="timeout").operate("retry")
    assert (story.state, story.instance.reason) == ("x.pending|c.pending", "")
    say(maker, story, "x.Done", "c.Done", "d.Done")
    assert story.state == "completed"


def held_at_h(course: Callable[[Maker, Flow[Data]], Flow[Data]], *before: str) -> tuple[Maker, "Scenario[Data]"]:
    """A run of this course that is stuck over `h`, once these answers were read; `h` is given to the course."""
    maker = Maker()
    maker.saga.flow(course(maker, maker.step("h", unknown="hold")))
    story = Scenario(maker.saga).start_event(Begun(k="k-1"))
    say(maker, story, *before)
    story.fires("h", kind="timeout")
    assert story.state == "stuck"
    return maker, story


def refused_beside_two(m: Maker, h: Flow[Data]) -> Flow[Data]:
    a, b, c = m.steps("abc")
    return a & h & (b >> c)


def test_a_refusal_that_was_kept_turns_each_branch_back_from_where_it_had_come_to() -> None:
    maker, story = held_at_h(refused_beside_two, "b.Done")
    say(maker, story, "a.Refused", "c.Done")
    story.operate("retry")
    assert story.state == "h.undoing|c.undoing", "not b before c"
    say(maker, story, "c.Undone")
    assert story.state == "h.undoing|b.undoing"
    say(maker, story, "h.Undone", "b.Undone")
    assert story.state == "compensated"


def test_a_step_that_was_under_way_beside_a_refusal_is_undone_before_what_it_follows() -> None:
    maker, story = held_at_h(refused_beside_two, "b.Done")
    say(maker, story, "a.Refused")
    story.operate("retry")
    assert story.state == "h.undoing|c.undoing", "c was asked, and nobody knows what came of it"


def test_a_signal_that_was_kept_turns_each_branch_back_from_where_it_had_come_to() -> None:
    def course(m: Maker, h: Flow[Data]) -> Flow[Data]:
        b, c = m.steps("bc")
        return m.wait(absence="refusal") & h & (b >> c)

    _, story = held_at_h(course, "b.Done")
    story.signal(Denied(k="k-1"))
    story.operate("retry")
    assert story.state == "h.undoing|c.undoing"


def test_a_way_that_fails_by_a_kept_refusal_is_left_from_where_each_of_its_branches_had_come_to() -> None:
    def course(m: Maker, h: Flow[Data]) -> Flow[Data]:
        a, b, c, d = m.steps("abcd")
        return h & (a & (b >> c) | d)

    maker, story = held_at_h(course, "b.Done")
    say(maker, story, "a.Refused", "c.Done")
    story.operate("retry")
    assert story.state == "h.pending|c.reverting"
    say(maker, story, "c.Undone", "b.Undone")
    assert story.state == "h.pending|d.pending"


def test_a_way_that_had_failed_in_two_branches_is_undone_from_the_last_step_of_each() -> None:
    def course(m: Maker, h: Flow[Data]) -> Flow[Data]:
        a, b, c, d = m.steps("abcd")
        return h & (a & (b >> c) | d)

    maker, story = held_at_h(course, "b.Done", "a.Done", "c.Refused")
    assert story.instance.stuck_from == "h.pending|a.reverting|b.reverting"
    story.operate("retry")
    assert story.state == "h.pending|a.reverting|b.reverting"
    say(maker, story, "a.Undone", "b.Undone")
    assert story.state == "h.pending|d.pending"
