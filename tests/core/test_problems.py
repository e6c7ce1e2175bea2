"""What stands in the way of a run under a newer definition, and what is said of a step that was changed."""

import msgspec
import pytest

from sagas import Participant
from sagas.core.carrying import Problem, problems, rename_hint
from sagas.core.definition import Definition
from sagas.core.effects import CarryOver
from sagas.core.instance import Instance, StepRecord
from sagas.core.kernel import decide
from sagas.core.rollout import step_reports
from sagas.core.shape import shape_of
from tests.core.courses import Agreed, Data, Maker
from tests.core.variants import BANK, DataWithSum, Plan, a_command, an_answer, variant

PLACE = Participant("place", key="k")
PACK = Plan("pack", a_command("pack"), a_command("unpack"))
PAY = Plan("pay", a_command("pay"), a_command("refund"), to=BANK)
V1 = variant(1, PACK, PAY)


def a_run(definition: Definition, state: str, *steps: StepRecord, **fields: str) -> Instance:
    run = Instance(id="i", saga="tale", version=1, key="k-1", state=state, data=b"{}", steps=steps)
    return msgspec.structs.replace(run, content=definition.content, **fields)


def texts(old: Definition, new: Definition, run: Instance) -> list[str]:
    return [problem.text for problem in problems(shape_of(old), shape_of(new), new.renames, run)]


DONE = StepRecord(name="pack", effect="done", reply="PackDone")


def test_another_business_key_is_said_and_nothing_else() -> None:
    old = shape_of(V1)
    new = msgspec.structs.replace(old, key="order_id")
    assert problems(old, new, {}, a_run(V1, "gone.pending")) == [
        Problem(text="its business key was 'k' and is 'order_id' now")
    ]


def test_a_ledger_with_a_step_that_its_version_had_not_is_refused() -> None:
    run = a_run(V1, "pay.pending", DONE, StepRecord(name="weigh", effect="done"))
    new = variant(2, PACK, PAY, PAY._replace(name="weigh", command=a_command("weigh"), undo=a_command("unweigh")))
    assert "its ledger has a step 'weigh' that version 1 had not" in texts(V1, new, run)


def test_an_open_effect_must_still_be_undoable_and_its_undo_be_answered_as_before() -> None:
    other = a_command("unpack", an_answer("returned"))
    answered = variant(2, PACK._replace(undo=other), PAY)
    run = a_run(V1, "pay.pending", DONE)
    assert texts(V1, variant(2, PACK._replace(undo=None), PAY), run) == [
        "step 'pack' can no longer be undone, and its effect is open"
    ]
    assert texts(V1, answered, run) == [
        "step 'pack', its undo: its answer 'unpack.done' is not expected any more",
        "step 'pack', its undo: its answer 'unpack.refused' is not expected any more",
    ]


def test_a_step_that_goes_elsewhere_or_is_of_another_kind_is_said() -> None:
    new = variant(2, PACK, PAY._replace(to=PACK.to, kind="pivot", undo=None, unknown="ask"))
    assert texts(V1, new, a_run(V1, "pay.pending", DONE, StepRecord(name="pay", effect="intended"))) == [
        "step 'pay' went to 'bank' and goes to 'shop' now",
        "step 'pay' was compensatable and is pivot now",
        "step 'pay' can no longer be undone, and its effect is open",
    ]


def test_no_name_is_guessed_for_a_step_that_looks_like_no_other() -> None:
    weigh = PACK._replace(name="weigh", command=a_command("weigh"), kind="retriable", undo=None)
    weigh = weigh._replace(command=a_command("weigh", an_answer("weigh")))
    assert rename_hint(shape_of(V1), shape_of(variant(2, PACK, weigh)), "pay") == ""
    assert rename_hint(shape_of(V1), shape_of(variant(2, PACK, PAY._replace(name="charge"))), "nobody") == ""


def waiting(topic: Participant = PLACE, *, has_wait: bool = True) -> Definition:
    maker = Maker("tale")
    a, b = maker.steps("ab")
    if not has_wait:
        return maker.close(a >> b)

    def word(data: Data, signal: Agreed) -> Data:
        return data

    return maker.close(a >> maker.saga.wait(on=topic, timeout=9, absence="refusal")(word) >> b)


def test_a_wait_is_held_against_what_it_heard_and_where() -> None:
    run = a_run(waiting(), "word.waiting", StepRecord(name="a", effect="done", reply="DoneA"))
    early = msgspec.structs.replace(run, state="a.pending", signals=(("word", "agreed", b"{}"),))
    assert texts(waiting(), waiting(), run) == []
    elsewhere = "wait 'word' took its signals from 'place' and takes them from 'desk' now"
    assert texts(waiting(), waiting(Participant("desk", key="k")), run) == [elsewhere]
    assert texts(waiting(), waiting(has_wait=False), run) == ["state 'word.waiting' no longer exists"]
    assert texts(waiting(), waiting(has_wait=False), early) == [], "nobody will wait for it, and it does no harm"


def test_a_run_is_not_carried_to_a_version_that_has_no_such_state() -> None:
    run = a_run(V1, "pay.pending", DONE)
    decision = decide(variant(2, PACK), run, CarryOver(from_version=1, from_content=run.content), 5)
    assert (decision.verdict, decision.note) == ("violation", "version 2 has no state 'pay.pending'")


# --------------------------------------------------------------------------- what is said of a step


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (PAY._replace(to=PACK.to), "participant: bank → shop"),
        (PAY._replace(unknown="ask"), "unknown: undo → ask"),
        (PAY._replace(kind="pivot", undo=None, unknown="ask"), "kind: compensatable → pivot"),
        (PAY._replace(undo=None), "has no undo any more"),
        (PAY._replace(command=a_command("pay", fields={"note": (str, "")})), "command 'pay' has another shape"),
        (PAY._replace(undo=a_command("refund", an_answer("refund"))), "answers have another shape"),
    ],
)
def test_what_is_other_about_a_step_is_said_whether_or_not_it_stands_in_the_way(plan: Plan, said: str) -> None:
    _, report = step_reports(V1, variant(2, PACK, plan), is_old_kept=True)
    assert report.verdict == "finishes on the old version"
    assert said in report.reasons


def test_an_undo_that_was_not_there_is_said() -> None:
    _, report = step_reports(variant(1, PACK, PAY._replace(undo=None)), V1, is_old_kept=True)
    assert "has an undo now" in report.reasons


def test_a_changed_content_under_the_same_version_is_stranded_with_the_version_to_raise_it_to() -> None:
    _, report = step_reports(V1, variant(1, PACK, PAY._replace(unknown="ask")), is_old_kept=False)
    assert report.verdict == "stranded"
    assert "the content was changed and the version was not" in report.reasons
    assert report.remedies == ("raise it to version=2",)


def test_data_that_cannot_be_read_strand_every_step_with_the_remedy() -> None:
    reports = step_reports(V1, variant(2, PACK, PAY, data=DataWithSum), is_old_kept=False)
    assert {report.verdict for report in reports} == {"stranded"}
    assert all("its data: total is new and required" in report.reasons for report in reports)
    assert all("give the new field a default" in report.remedies for report in reports)


def test_a_saga_that_is_gone_strands_its_runs_unless_the_old_version_stays() -> None:
    for is_kept, verdict in ((True, "finishes on the old version"), (False, "stranded")):
        reports = step_reports(V1, None, is_old_kept=is_kept)
        assert [(report.step, report.verdict) for report in reports] == [("pack", verdict), ("pay", verdict)]


def test_two_steps_that_a_run_has_behind_it_do_not_become_one() -> None:
    """Their records would have one name, and only one of the effects would ever be undone."""
    pair = PACK, PACK._replace(name="pack_more", command=a_command("more"), undo=a_command("less"))
    old = variant(1, *pair, PAY)
    new = variant(2, PACK._replace(name="hold"), PAY, renames={"pack": "hold", "pack_more": "hold"})
    begun = a_run(old, "pack.pending", StepRecord(name="pack"))
    assert texts(old, new, begun) == [], "it has come to one of them only"
    for run in (
        a_run(old, "pack_more.pending", DONE),
        a_run(old, "pay.pending", DONE, StepRecord(name="pack_more", effect="done")),
    ):
        assert problems(shape_of(old), shape_of(new), new.renames, run)[0] == Problem(
            text="it has come to 'pack' and to 'pack_more', and both would be called 'hold'",
            remedy="give each a name of its own in renames",
        )
    reports = {report.step: report.verdict for report in step_reports(old, new, is_old_kept=False)}
    assert (reports["pack"], reports["pack_more"]) == ("continues under a mapping", "stranded")
