"""Drawings of definitions: what they show, that nothing breaks them, and that those in diagrams/ are fresh."""

import os
import re
from pathlib import Path

import msgspec

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.cli.definitions import load, modules_wanted
from sagas.core.diagram import mermaid
from services.orders.saga import order_saga
from tests.core.trip import trip_saga

ROOT = Path(__file__).parents[2]

PLACE = Participant("place", key="k")

# The lines Mermaid's grammar has for what is drawn here; what is in none of them might break a drawing.
_LINES = re.compile(
    r"""%%[ ][^\n]*
    | stateDiagram-v2
    | [ ]{4}state[ ]"[^"\n:;#{}<>]*(\#\d+;[^"\n:;#{}<>]*)*"[ ]as[ ]\w+
    | [ ]{4}(\[\*\]|\w+)[ ]-->[ ](\[\*\]|\w+)([ ]:[ ][^"\n:;#{}<>%]*(\#\d+;[^"\n:;#{}<>%]*)*)?
    | [ ]{4}classDef[ ]\w+[ ][\w:,\- ]+
    | [ ]{4}class[ ]\w+[ ]\w+
    """,
    re.VERBOSE,
)


class Done(Event, tag="x.done"):
    k: str


class Größe(Rejection, tag="x.no"):
    k: str


class End(Event, tag="x.end"):
    k: str


class Do(Command[Done | Größe], tag="x.do"):
    k: str


class Undo(Command[End], tag="x.undo"):
    k: str


class Data(msgspec.Struct, frozen=True):
    k: str


def a_saga_with_words_of_mermaids_own() -> "Saga[Data]":
    saga = Saga("state", Data, version=1, key="k")

    @saga.start(on=PLACE)
    def begin(event: Done) -> Data:
        return Data(event.k)

    @saga.step(to=PLACE, timeout=1, unknown="undo")
    def end(data: Data) -> Do:
        return Do(k=data.k)

    @end.undo
    def _(data: Data) -> Undo:
        return Undo(k=data.k)

    @saga.pivot(to=PLACE, timeout=1, unknown="hold")
    def note(data: Data) -> Do:
        return Do(k=data.k)

    assert begin(Done(k="1")) == Data("1")
    end.reply(unchanged)
    note.reply(unchanged)
    saga.flow(end >> note)
    return saga


def arrows(text: str) -> list[str]:
    """The arrows of a drawing."""
    return [line.strip() for line in text.splitlines() if "-->" in line]


def test_every_drawing_is_what_its_definition_draws_now() -> None:
    definitions = load(modules_wanted((), {}, ROOT))
    folder = ROOT / "diagrams"
    fresh = {f"{definition.name}.mmd": mermaid(definition) for definition in definitions}
    kept = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.mmd")}

    stale = sorted(name for name in fresh.keys() | kept.keys() if fresh.get(name) != kept.get(name))

    assert stale == [], f"stale in diagrams/: {', '.join(stale)}; run `make diagrams`{os.linesep}"


def test_a_drawing_names_each_kind_of_move_in_words() -> None:
    drawn = arrows(mermaid(order_saga.definition))

    assert "[*] --> create__pending : start" in drawn
    assert "create__pending --> reserve__pending : OrderCreated" in drawn
    assert "pay__pending --> reserve__undoing : refused · PaymentFailed" in drawn
    assert "pay__pending --> pay__undoing : back · timeout, exhausted, deadline" in drawn
    assert "ship__pending --> ship__resolving : unknown · timeout" in drawn
    assert "create__undoing --> stuck : stuck · broken" in drawn
    assert "completed --> [*]" in drawn


def test_a_trigger_keeps_its_step_where_the_source_does_not_say_it() -> None:
    drawn = arrows(mermaid(order_saga.definition))

    assert "stuck --> completed : ship.OrderShipped" in drawn


def test_every_move_of_the_machine_is_drawn_and_no_other() -> None:
    definition = trip_saga.definition

    drawn = arrows(mermaid(definition, with_late=True, with_operator=True))

    pairs = {(a.split(" --> ")[0], a.split(" --> ")[1].split(" : ")[0]) for a in drawn if not a.endswith("--> [*]")}
    moves = {(source, dest) for (source, _), dest in definition.table.items()}
    named = {tuple("[*]" if s == "new" else s.replace(".", "__") for s in move) for move in moves}
    assert pairs == named


def test_late_moves_are_left_out_unless_asked_for() -> None:
    assert "late · " not in mermaid(order_saga.definition)
    assert "compensated --> pay__undoing : late · pay.late" in mermaid(order_saga.definition, with_late=True)


def test_no_name_breaks_a_drawing() -> None:
    for saga in (order_saga, trip_saga, a_saga_with_words_of_mermaids_own()):
        for line in mermaid(saga.definition, with_late=True).splitlines():
            assert _LINES.fullmatch(line), line


def test_the_same_definition_draws_the_same_text() -> None:
    first = mermaid(a_saga_with_words_of_mermaids_own().definition)

    assert first == mermaid(a_saga_with_words_of_mermaids_own().definition)
