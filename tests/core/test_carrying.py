"""A run of one version under another: what is pinned to it, and what keeps its name when its step gets another."""

from typing import Any

import pytest

from sagas import DefinitionError, Event, Participant, Saga, unchanged
from sagas.core.carrying import problems
from sagas.core.definition import Definition
from sagas.core.effects import CarryOver, Fire, Operate, Reply, Send, Start
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.shape import decode_shape, encode_shape, shape_of
from tests.core.variants import BANK, Begun, Data, DataWithNote, Plan, a_command, a_saga, variant

NOW_MS = 1_760_000_000_000
PACK = Plan("pack", a_command("pack"), a_command("unpack"))
PAY = Plan("pay", a_command("pay"), a_command("refund"), to=BANK)
CHARGE = PAY._replace(name="charge")
V1 = variant(1, PACK, PAY)
V2 = variant(2, PACK, CHARGE, renames={"pay": "charge"})


def begun(definition: Definition) -> Instance:
    started = decide(definition, None, Start(key="o-1", data=b'{"k":"o-1"}'), NOW_MS).instance
    assert started is not None
    return started


def answered(definition: Definition, instance: Instance, step: str, tag: str, operation: str = "do") -> Instance:
    undo = operation == "undo"
    reply = Reply(step=step, operation="undo" if undo else "do", event_type=tag, data=b"{}")
    decision = decide(definition, instance, reply, NOW_MS)
    assert decision.verdict == "advance", decision
    assert decision.instance is not None
    return decision.instance


def carried(instance: Instance, definition: Definition = V2) -> Instance:
    message = CarryOver(from_version=instance.version, from_content=instance.content)
    decision = decide(definition, instance, message, NOW_MS)
    assert decision.instance is not None
    return decision.instance


def at_pay() -> Instance:
    return answered(V1, begun(V1), "pack", "pack.done")


def test_a_run_is_pinned_to_the_version_and_the_content_it_began_with() -> None:
    assert (begun(V1).version, begun(V1).content) == (1, V1.content)
    assert len(V1.content) == 16


def test_the_content_is_of_what_a_live_run_needs_and_of_nothing_else() -> None:
    assert variant(1, PACK._replace(timeout=5), PAY).content == V1.content
    assert variant(7, PACK, PAY).content == V1.content, "the number is pinned beside it"
    for other in (
        variant(1, PAY, PACK),
        variant(1, PACK),
        variant(1, PACK, CHARGE),
        variant(1, PACK, PAY._replace(unknown="ask")),
        variant(1, PACK, PAY._replace(kind="pivot", undo=None, unknown="ask")),
        variant(1, PACK._replace(to=BANK), PAY),
        variant(1, PACK, PAY._replace(command=a_command("pay", fields={"card": str}))),
        variant(1, PACK, PAY, data=DataWithNote),
    ):
        assert other.content != V1.content


def test_a_shape_survives_being_kept() -> None:
    assert decode_shape(encode_shape(shape_of(V1))) == shape_of(V1)


def test_a_renamed_step_is_carried_over_with_its_state_and_its_ledger() -> None:
    before = at_pay()
    assert problems(shape_of(V1), shape_of(V2), V2.renames, before) == []

    after = carried(before)

    assert (after.version, after.content, after.state) == (2, V2.content, "charge.pending")
    assert [(record.name, record.sent_as) for record in after.steps] == [("pack", ""), ("charge", "pay")]
    assert after.revision == before.revision + 1


def test_its_participant_keeps_knowing_it_by_the_name_it_was_asked_under() -> None:
    before = at_pay()
    old_id = next(e.id for e in decide(V1, before, _resend("pay"), NOW_MS).effects if isinstance(e, Send))

    again = decide(V2, carried(before), _resend("pay"), NOW_MS)
    back = decide(V2, carried(before), Fire(kind="timeout", step="pay", attempt=1), NOW_MS)

    (sent,) = [e for e in again.effects if isinstance(e, Send)]
    (undo,) = [e for e in back.effects if isinstance(e, Send)]
    assert (sent.id, sent.step, sent.sent_as) == (old_id, "charge", "pay")
    assert (undo.operation, undo.sent_as) == ("undo", "pay"), "its barrier would find nothing to undo under another"


def _resend(step: str) -> Fire:
    return Fire(kind="resend", step=step, attempt=1)


def test_answers_under_the_old_name_are_taken_for_as_long_as_the_run_lives() -> None:
    done = answered(V2, carried(at_pay()), "pay", "pay.done")

    assert done.state == "completed"


def test_a_run_that_began_under_the_new_name_uses_it() -> None:
    fresh = decide(V2, answered(V2, begun(V2), "pack", "pack.done"), _resend("charge"), NOW_MS)

    (sent,) = [e for e in fresh.effects if isinstance(e, Send)]
    assert (sent.step, sent.sent_as) == ("charge", "charge")


def test_a_stuck_run_is_carried_over_with_what_it_is_stuck_over() -> None:
    turned = decide(V1, at_pay(), Fire(kind="timeout", step="pay", attempt=1), NOW_MS).instance
    assert turned is not None
    reply = Reply(step="pay", operation="undo", event_type="sagas.undeliverable", data=b'{"reason":"gone"}')
    stuck = decide(V1, turned, reply, NOW_MS).instance
    assert stuck is not None
    assert (stuck.state, stuck.stuck_step, stuck.stuck_from) == ("stuck", "pay", "pay.undoing")

    after = carried(stuck)

    assert (after.state, after.stuck_step, after.stuck_from) == ("stuck", "charge", "charge.undoing")
    assert after.reason.startswith("charge: ")
    retry = Operate(action="retry", who="ann", reason="", revision=after.revision)
    assert decide(V2, after, retry, NOW_MS).moves[0].dest == "charge.undoing"


def test_two_renames_in_a_row_keep_the_first_name() -> None:
    third = variant(3, PACK, PAY._replace(name="bill"), renames={"pay": "bill", "charge": "bill"})

    after = carried(carried(at_pay()), third)

    assert [(record.name, record.sent_as) for record in after.steps][1] == ("bill", "pay")
    assert answered(third, after, "pay", "pay.done").state == "completed"


def test_carrying_over_twice_changes_nothing() -> None:
    once = carried(at_pay())

    decision = decide(V2, once, CarryOver(from_version=1, from_content=V1.content), NOW_MS)

    assert decision.verdict == "duplicate"


@pytest.mark.parametrize(
    ("renames", "said"),
    [
        ({"pay": "bill"}, "renames 'pay' to 'bill', and has no step 'bill'"),
        ({"pack": "charge"}, "renames 'pack', and has a step 'pack'"),
    ],
)
def test_a_rename_that_leads_nowhere_is_refused(renames: dict[str, str], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        variant(2, PACK, CHARGE, renames=renames)


class Agreed(Event, tag="agreed"):
    k: str


class AgreedByName(Event, tag="agreed"):
    k: str
    name: str


def a_wait(signal: type[Event], *, on: Participant = BANK, absence: str = "refusal") -> Definition:
    saga = a_saga(1, PACK)
    fresh: Saga[Data] = Saga("tale", Data, version=2, key="k")

    def begin(event: Begun) -> Data:
        return Data(event.k)

    def word(data: Data, said: Event) -> Data:
        return data

    def pack(data: Data) -> Event:
        raise NotImplementedError

    word.__annotations__["said"] = signal
    pack.__annotations__["return"] = saga.definition.steps["pack"].command_type
    fresh.start(on=BANK)(begin)
    waits: Any = fresh.wait(on=on, timeout=9, absence=absence)  # type: ignore[arg-type]  # one of the three words
    step: Any = fresh.step(to=PACK.to, timeout=9, unknown="undo", leaves_nothing=True)(pack)  # type: ignore[arg-type]  # an event stands for its command
    step.reply(unchanged)
    fresh.flow(waits(word) >> step)
    return fresh.definition


def test_a_wait_is_part_of_the_content_and_its_signals_must_still_be_taken() -> None:
    old, named, moved = a_wait(Agreed), a_wait(AgreedByName), a_wait(Agreed, on=PACK.to)
    assert len({d.content for d in (old, named, moved, a_wait(Agreed, absence="consent"))}) == 4
    waiting = begun(old)
    assert waiting.state == "word.waiting"

    def said(new: Definition) -> list[str]:
        return [problem.text for problem in problems(shape_of(old), shape_of(new), {}, waiting)]

    assert said(old) == []
    assert said(named) == ["wait 'word': its answer 'agreed': name is new and required"]
    assert said(moved) == ["wait 'word' took its signals from 'bank' and takes them from 'shop' now"]
