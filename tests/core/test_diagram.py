"""Drawings of definitions: what they show, that nothing breaks them, and that those in diagrams/ are fresh."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sagas import Command, Event, Participant, Rejection, Saga, unchanged
from sagas.core.diagram import mermaid, progress_of
from sagas.core.effects import CarryOver, Fire, Input, Operate, Reply, Signal, Verdict
from sagas.core.mermaid import LABEL_LENGTH_MAX, label, node
from sagas.core.sequence import LINES_MAX, sequence
from sagas.core.topology import topology
from sagas.ports import JournalRow
from services.orders.saga import order_saga
from tests.cli.conftest import a_declined_order, a_stuck_trip, an_order
from tests.core.past import NOW_MS, Past
from tests.core.trip import trip_saga
from tests.drawings import FOLDER, drawings

PLACE = Participant("place", key="k")

_TEXT = r'"[^"`<>;#]*(#\d+;[^"`<>;#]*)*"'

# The lines Mermaid's grammar has for what is drawn here; what is in none of them might break a drawing.
_LINES = re.compile(
    rf"""%%[ ][^\n]*
    | flowchart[ ]TD
    | [ ]{{4}}n_\w+(\(\(|\[|\{{\{{|\[\[|\[/|\(\[|\(\(\(){_TEXT}(\)\)|\]|\}}\}}|\]\]|/\]|\]\)|\)\)\))
    | [ ]{{4}}n_\w+[ ]-->\|{_TEXT}\|[ ]n_\w+
    | [ ]{{4}}linkStyle[ ][\d,]+[ ][\w:,\-\# ]+
    | [ ]{{4}}classDef[ ]\w+[ ][\w:,\-\# ]+
    | [ ]{{4}}class[ ]n_\w+[ ]\w+
    """.replace(_TEXT, _TEXT.replace("#", r"\#")),
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
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.mmd")}
    fresh = drawings()

    stale = sorted(name for name in fresh.keys() | kept.keys() if fresh.get(name) != kept.get(name))

    assert stale == [], f"stale in diagrams/: {', '.join(stale)}; run `make diagrams`"


def test_a_drawing_names_each_kind_of_move_in_words() -> None:
    drawn = arrows(mermaid(order_saga.definition))

    assert 'n_new -->|"start"| n_create__pending' in drawn
    assert 'n_create__pending -->|"OrderCreated"| n_reserve__pending' in drawn
    assert 'n_pay__pending -->|"refused · PaymentFailed"| n_reserve__undoing' in drawn
    assert 'n_pay__pending -->|"back · timeout, exhausted, deadline"| n_pay__undoing' in drawn
    assert 'n_ship__pending -->|"unknown · timeout"| n_ship__resolving' in drawn
    assert 'n_ship__pending -->|"stuck · exhausted"| n_stuck' in drawn


def test_each_kind_of_move_has_a_line_of_its_own() -> None:
    text = mermaid(order_saga.definition, with_late=True, with_operator=True)
    drawn = arrows(text)
    lines = {
        int(number): style
        for row in text.splitlines()
        if row.strip().startswith("linkStyle ")
        for _, numbers, style in [row.split(maxsplit=2)]
        for number in numbers.split(",")
    }
    kinds = [re.findall(r'\|"(\w+(?: \w+)?) · ', arrow) or ["forward"] for arrow in drawn]
    by_kind = {kind: {lines[n] for n, (found,) in enumerate(kinds) if found == kind} for (kind,) in kinds}

    assert all(len(styles) == 1 for styles in by_kind.values()), by_kind
    assert len({styles.pop() for styles in by_kind.values()}) == len(by_kind) == 8


def test_a_trigger_keeps_its_step_where_the_source_does_not_say_it() -> None:
    assert 'n_stuck -->|"ship.OrderShipped"| n_completed' in arrows(mermaid(order_saga.definition))


def test_every_move_of_the_machine_is_drawn_and_no_other() -> None:
    definition = trip_saga.definition

    drawn = arrows(mermaid(definition, with_late=True, with_operator=True))

    pairs = {(a.split(" -->|")[0], a.rsplit("| ", 1)[1]) for a in drawn}
    assert pairs == {(node(source), node(dest)) for (source, _), dest in definition.table.items()}


def test_what_is_rare_is_left_out_unless_asked_for() -> None:
    few, all_of_them = mermaid(order_saga.definition), mermaid(order_saga.definition, with_late=True)

    assert "late · " not in few
    assert "broken" not in few
    assert 'n_compensated -->|"late · pay.late"| n_pay__undoing' in all_of_them
    assert "broken" in all_of_them


def test_an_instance_is_drawn_where_it_is_and_where_it_was() -> None:
    past = a_stuck_trip("t-1")

    drawn = mermaid(trip_saga.definition, progress=progress_of(past.instance, past.journal)).splitlines()

    assert '    n_stuck((("HERE#58; stuck")))' in drawn
    assert '    n_ticket__pending["passed#58; ticket"]' in drawn
    assert "    class n_stuck here" in drawn
    assert "    class n_room__pending been" in drawn
    assert "    class n_room__undoing undoing" in drawn
    title = next(line for line in drawn if "n_the_32_title" in line)
    assert "trip t-1 · stuck · ticket#58; no answer in 9.0 s" in title
    assert sum("stroke:#000,stroke-width:5px" in line for line in drawn if "linkStyle" in line) >= 1


def test_only_the_moves_that_an_instance_made_are_drawn_as_made() -> None:
    past = a_declined_order("o-1")

    drawn = mermaid(order_saga.definition, progress=progress_of(past.instance, past.journal))

    assert "Undeliverable" not in drawn, "the same two states, another trigger"


def test_the_messages_of_an_instance_are_told_in_their_order() -> None:
    past = a_declined_order("o-1")

    drawn = sequence(order_saga.definition, past.instance, past.journal).splitlines()

    said = [line.strip() for line in drawn if ">>" in line]
    assert said[0] == "n_client->>n_orchestrator: order.created"
    assert "n_orchestrator->>n_payments: payment.process" in said
    assert said[-2] == "n_orchestrator->>n_orders: order.compensate"
    assert said[-1].startswith("n_orders-->>n_orchestrator: order.compensated, after ")
    assert not any("shipping" in line for line in drawn), "nobody spoke to it"


def test_a_timeout_is_a_note_and_its_undo_is_sent() -> None:
    past = an_order("o-1").timeout("pay")

    drawn = sequence(order_saga.definition, past.instance, past.journal).splitlines()

    assert [line.strip() for line in drawn][-3].startswith("Note over n_orchestrator: pay#58; timeout after attempt")
    assert [line.strip() for line in drawn][-2] == "n_orchestrator->>n_payments: payment.refund"


def said(past: Past, *rows: JournalRow) -> list[str]:
    """The lines of the sequence, behind who takes part in it."""
    drawn = sequence(order_saga.definition, past.instance, [*past.journal, *rows]).splitlines()
    return [line.strip() for line in drawn if ">>" in line or "--x" in line or "Note" in line]


def a_row(message: Input, verdict: Verdict = "advance", path: tuple[str, ...] = ()) -> JournalRow:
    return JournalRow(
        instance_id="i",
        revision=9,
        at_ms=NOW_MS + 1_000,
        verdict=verdict,
        input=msgspec.msgpack.encode(message),
        path=path,
    )


def test_a_command_that_is_sent_again_is_drawn_again() -> None:
    past = an_order("o-1")
    asked = sum(">>n_payments" in line for line in said(past))
    again = a_row(Fire(kind="resend", step="pay", attempt=1))
    assert sum(">>n_payments" in line for line in said(past, again)) == asked + 1
    assert sum(">>n_payments" in line for line in said(past, msgspec.structs.replace(again, verdict="late"))) == asked


def test_an_answer_that_changed_nothing_is_crossed_out_and_what_a_person_did_is_a_note() -> None:
    past = an_order("o-1")
    late = a_row(Reply(step="pay", operation="do", event_type="payment.processed", data=b"{}"), "duplicate")
    stranger = a_row(Reply(step="paint", operation="do", event_type="painted", data=b"{}"), "violation")
    asked = a_row(Operate(action="cancel", who="ann", reason="x", revision=1))
    lines = said(past, late, stranger, asked, a_row(CarryOver(from_version=1, from_content="c")))
    assert lines[-5].startswith("n_payments--xn_orchestrator: payment.processed (duplicate), after ")
    assert lines[-4].startswith("n_client--xn_orchestrator: painted (violation), after ")
    assert lines[-3].startswith("Note over n_orchestrator: ann asked to cancel it, after ")
    assert lines[-2].startswith("Note over n_orchestrator: carried over, after ")


def test_a_signal_and_what_no_release_can_read_are_notes() -> None:
    past = an_order("o-1")
    unread = msgspec.structs.replace(a_row(Fire(kind="deadline")), input=b"\xc1")
    lines = said(past, a_row(Signal(event_type="agreed", data=b"{}")), unread)
    assert lines[-3:-1] == [
        "Note over n_orchestrator: the signal agreed came",
        "Note over n_orchestrator: something this release cannot read",
    ]


def test_a_run_that_got_stuck_says_so_where_it_did() -> None:
    past = a_stuck_trip("t-1")
    drawn = sequence(trip_saga.definition, past.instance, past.journal)
    assert "Note over n_orchestrator: stuck#58; ticket#58; no answer in 9.0 s" in drawn


def test_a_step_that_the_definition_has_not_any_more_sends_nothing() -> None:
    past = an_order("o-1")
    gone = a_row(Fire(kind="timeout", step="paint", attempt=1), path=("pay.pending", "paint.pending"))
    assert said(past, gone)[-2].startswith("Note over")


def test_a_long_story_leaves_out_its_middle_and_says_how_much() -> None:
    past = an_order("o-1")
    many = [a_row(Fire(kind="resend", step="pay", attempt=1)) for _ in range(LINES_MAX)]
    lines = said(past, *many)
    assert len(lines) == LINES_MAX + 2
    assert sum("left out" in line for line in lines) == 1


def test_the_map_shows_every_topic_with_who_writes_and_who_reads_it() -> None:
    drawn = topology([order_saga.definition])

    for topic in (*order_saga.definition.topics, *order_saga.definition.command_topics):
        assert f'[("{topic}")]' in drawn
    assert '-->|"payment.process<br/>payment.refund"|' in drawn


def test_no_name_breaks_a_drawing() -> None:
    for saga in (order_saga, trip_saga, a_saga_with_words_of_mermaids_own()):
        for line in mermaid(saga.definition, with_late=True, with_operator=True).splitlines():
            assert _LINES.fullmatch(line), line


@given(text=st.text(max_size=150))
def test_a_label_holds_nothing_that_mermaid_reads_and_gives_the_text_back(text: str) -> None:
    written = label(text)

    assert not set(re.sub(r"#\d+;", "", written)) & set("\"'`<>[]{}|;:#%&*\\\n\r\t")
    read = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), written)
    shown = text if len(text) <= LABEL_LENGTH_MAX else f"{text[: LABEL_LENGTH_MAX - 1]}…"
    assert read == "".join(c if c.isprintable() else " " for c in shown)


@given(text=st.text(max_size=50))
def test_a_node_is_never_a_word_of_mermaids(text: str) -> None:
    assert re.fullmatch(r"n_\w*", node(text), re.ASCII)


@given(one=st.text(max_size=8), other=st.text(max_size=8))
def test_two_names_are_two_nodes(one: str, other: str) -> None:
    assert (node(one) == node(other)) == (one == other)


def test_the_same_definition_draws_the_same_text() -> None:
    first = mermaid(a_saga_with_words_of_mermaids_own().definition)

    assert first == mermaid(a_saga_with_words_of_mermaids_own().definition)
