"""A sub-saga of any form goes the same way as a part as it goes by itself, under longer names and on its own data."""

from typing import Any

import msgspec
import pytest

from sagas import Flow, Participant, Saga
from sagas.core.definition import Definition
from sagas.core.effects import Fire, Input, Reply, Send, Signal, Start
from sagas.core.instance import COMPLETED, STUCK, Instance
from sagas.core.kernel import decide
from sagas.core.messages import tag_of
from sagas.core.renaming import marks_of
from tests.core.courses import Agreed, Begun, Data, Maker, says_yes

PLACE = Participant("place", key="k")
NOW_MS = 1_000_000


class Outer(msgspec.Struct, frozen=True):
    """The parent's data; `inner` is where its part keeps its own."""

    k: str
    inner: Data | None = None


def everything(m: Maker) -> Flow[Data]:
    """One of each form: branches, a decision, a wait, a delay, an answer's branch, a save-point."""
    a, b, c, d, e, f, g = m.steps("abcdefg")
    chosen = m.saga.when(says_yes, c, f)
    return (
        (a & b) >> chosen >> m.wait(absence="refusal") >> m.pause() >> g.on(m.reply("g", "Other"), a_step(m)) >> (d | e)
    )


def a_step(m: Maker) -> Flow[Data]:
    return m.step("h")


def pair() -> tuple[Definition, Definition]:
    """The child by itself, and the saga that it is a part of."""
    m = Maker()
    m.saga.flow(everything(m))
    parent: Saga[Outer] = Saga("parent", Outer, version=1, key="k")

    @parent.start(on=PLACE)
    def begin(event: Begun) -> Outer:
        return Outer(event.k)

    @parent.part(m.saga)
    def inner(data: Outer) -> Data:
        return Data(data.k)

    parent.flow(inner)
    return m.saga.definition, parent.definition


CHILD, PARENT = pair()


def longer(state: str) -> str:
    """What the child's state is called in the parent."""
    marks = marks_of(state)
    return "|".join(f"inner_{step}.{phase}" for step, phase in marks) if "." in state else state


def test_every_way_of_the_child_is_a_way_of_the_parent_and_no_other_is() -> None:
    def ways(definition: Definition) -> set[tuple[str, str]]:
        return {(e.source, e.dest) for e in definition.edges if STUCK not in (e.source, e.dest)}

    assert {(longer(source), longer(dest)) for source, dest in ways(CHILD)} == ways(PARENT)


def story(prefix: str, *, yes: bool) -> list[Input]:
    """What comes, one after the other: answers, a signal, the end of a pause; the first way is refused."""

    def said(step: str, word: str) -> Input:
        return Reply(step=f"{prefix}{step}", operation="do", event_type=f"{step}.{word}", data=b"{}")

    return [
        said("b", "done"),
        said("a", "done"),
        said("c" if yes else "f", "done"),
        Signal(event_type=tag_of(Agreed), data=b"{}"),
        Fire(kind="over", step=f"{prefix}pause"),
        said("g", "other"),
        said("h", "done"),
        said("d", "refused"),
        said("e", "done"),
    ]


def told(definition: Definition, data: Any, messages: list[Input]) -> tuple[Instance, list[str]]:
    """The run that comes of it, and the commands it sent, each with its business key."""
    decision = decide(definition, None, Start(key="k-1", data=definition.encode_data(data)), NOW_MS)
    sent: list[str] = []
    for number, message in enumerate([None, *messages]):
        if message is not None:
            decision = decide(definition, decision.instance, message, NOW_MS + number)
            assert decision.verdict == "advance", (message, decision.note)
        sent += [f"{tag_of(type(e.command))} {e.command.k}" for e in decision.effects if isinstance(e, Send)]  # type: ignore[attr-defined] # every command here has it
    assert decision.instance is not None
    return decision.instance, sent


@pytest.mark.parametrize("yes", [True, False])
def test_the_same_messages_lead_both_to_the_same_commands_and_the_same_end(yes: bool) -> None:
    alone, sent_alone = told(CHILD, Data("k-1", yes), story("", yes=yes))
    within, sent_within = told(PARENT, Outer("k-1", Data("k-1", yes)), story("inner_", yes=yes))
    assert sent_within == sent_alone
    assert (alone.state, within.state) == (COMPLETED, COMPLETED)
    assert [f"inner_{record.name}" for record in alone.steps] == [record.name for record in within.steps]
    kept = PARENT.decode_data(within.data)
    assert kept == Outer("k-1", CHILD.decode_data(alone.data)), "the child's data stand in the parent's field"


def test_until_its_first_fold_a_part_is_shown_what_the_parent_makes_of_its_own_data() -> None:
    before = decide(PARENT, None, Start(key="k-1", data=PARENT.encode_data(Outer("k-1"))), NOW_MS).instance
    assert before is not None
    assert PARENT.decode_data(before.data).inner is None
    answered = decide(
        PARENT, before, Reply(step="inner_a", operation="do", event_type="a.done", data=b"{}"), NOW_MS + 1
    )
    assert answered.instance is not None
    assert PARENT.decode_data(answered.instance.data).inner == Data("k-1")
