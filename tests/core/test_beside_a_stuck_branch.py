"""What happens in the other branches while a run is stuck over one: nothing of it is lost."""

from sagas.testing import Scenario
from tests.core.courses import Agreed, Begun, Data, Maker


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
