"""`sagas rollout`: the verdict on each live instance is what happens to it when the new version is deployed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sagas import Command, Rejection, upcast
from sagas.cli.definitions import load
from sagas.cli.rollout import judged, report
from sagas.cli.start import start_message
from sagas.core.crossing import message_reports, start_reports
from sagas.core.definition import Definition
from sagas.core.instance import Instance
from sagas.core.messages import Event
from sagas.core.renaming import marks_of
from sagas.core.rollout import Verdict
from sagas.runtime.admission import StrandedInstances, admit
from sagas.runtime.catalog import Catalog
from sagas.store.sqlite import SqliteStore
from tests.cli.conftest import Terminal
from tests.core.variants import (
    BANK,
    DataWithNote,
    DataWithSum,
    Plan,
    a_command,
    a_message,
    an_answer,
    variant,
)
from tests.runtime.node import NOW_MS, Node

PACK = Plan("pack", a_command("pack"), a_command("unpack"))
PAY = Plan("pay", a_command("pay"), a_command("refund"), to=BANK)
SHIP = Plan("ship", a_command("ship"), kind="pivot", unknown="ask")
MAIL = Plan("mail", a_command("mail", an_answer("mail")), kind="retriable")
WEIGH = Plan("weigh", a_command("weigh"))
CHARGE = PAY._replace(name="charge")
V1 = variant(1, PACK, PAY, SHIP)

DONE = {"pack": "pack.done", "pay": "pay.done", "ship": "ship.done"}


class Row(NamedTuple):
    """A pair of versions: what the run has been answered under V1, what is deployed then, and the verdict."""

    name: str
    answers: Sequence[tuple[str, str, str]]
    deployed: Sequence[Definition]
    verdict: Verdict
    reason: str = ""


def do(*steps: str) -> Sequence[tuple[str, str, str]]:
    """Answers that say: done."""
    return [(step, DONE[step], "do") for step in steps]


REFUSED = [*do("pack", "pay"), ("ship", "ship.refused", "do")]


def pay_answering(**fields: type[str] | tuple[type[str], str]) -> Plan:
    """The payment, whose answer has these fields."""
    return PAY._replace(command=a_command("pay", an_answer("pay", fields), an_answer("pay", base=Rejection)))


_SHIP_ANSWERS: Any = an_answer("ship") | an_answer("ship", base=Rejection)
SHIP_2 = a_message("Ship", "ship", base=Command[_SHIP_ANSWERS], version=2)


@upcast(SHIP_2, from_version=1)
def _(data: dict[str, object]) -> dict[str, object]:
    return data


TABLE = [
    Row("only timeouts differ", do("pack"), [variant(2, PACK._replace(timeout=1), PAY, SHIP)], "continues unchanged"),
    Row("the same version", do("pack"), [V1], "continues unchanged"),
    Row("a step was added at the end", do("pack"), [variant(2, PACK, PAY, SHIP, MAIL)], "continues unchanged"),
    Row("a step was added ahead of it", do(), [variant(2, PACK, WEIGH, PAY, SHIP)], "continues unchanged"),
    Row(
        "a step was added behind it",
        do("pack"),
        [variant(2, PACK, WEIGH, PAY, SHIP)],
        "stranded",
        "step 'weigh' was put in before where it stands",
    ),
    Row(
        "a step was added behind it, and it has turned back",
        REFUSED,
        [variant(2, PACK, WEIGH, PAY, SHIP)],
        "continues unchanged",
    ),
    Row("a step ahead of it was removed", do(), [variant(2, PACK, SHIP)], "continues unchanged"),
    Row("its step was removed", do("pack"), [variant(2, PACK, SHIP)], "stranded", "step 'pay' no longer exists"),
    Row(
        "a step it has done was removed",
        do("pack", "pay"),
        [variant(2, PACK, SHIP)],
        "stranded",
        "step 'pay' no longer exists",
    ),
    Row(
        "its step was renamed and nobody says so",
        do("pack"),
        [variant(2, PACK, CHARGE, SHIP)],
        "stranded",
        'renames={"pay": "charge"}',
    ),
    Row(
        "its step was renamed",
        do("pack"),
        [variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})],
        "continues under a mapping",
        "pay is charge",
    ),
    Row(
        "a step ahead of it was renamed",
        do(),
        [variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})],
        "continues unchanged",
    ),
    Row(
        "a step it undoes was renamed",
        REFUSED,
        [variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})],
        "continues under a mapping",
        "pay is charge",
    ),
    Row("the old one is kept", do("pack"), [variant(2, PACK, SHIP), V1], "finishes on the old version"),
    Row(
        "the order was changed behind it",
        do("pack"),
        [variant(2, PAY, PACK, SHIP)],
        "stranded",
        "step 'pack' stands behind where it is now",
    ),
    Row(
        "its step goes to somebody else",
        do("pack"),
        [variant(2, PACK, PAY._replace(to=PACK.to), SHIP)],
        "stranded",
        "step 'pay' went to 'bank' and goes to 'shop' now",
    ),
    Row(
        "what it did cannot be undone any more",
        do("pack", "pay"),
        [variant(2, PACK, PAY._replace(undo=None), SHIP)],
        "stranded",
        "step 'pay' can no longer be undone",
    ),
    Row(
        "its step decides now",
        do("pack"),
        [variant(2, PACK, PAY._replace(kind="pivot", undo=None, unknown="ask"))],
        "stranded",
        "step 'pay' was compensatable and is pivot now",
    ),
    Row(
        "its answer has a new required field",
        do("pack"),
        [variant(2, PACK, pay_answering(receipt=str), SHIP)],
        "stranded",
        "its answer 'pay.done': receipt is new and required",
    ),
    Row(
        "its answer has a new field with a default",
        do("pack"),
        [variant(2, PACK, pay_answering(receipt=(str, "")), SHIP)],
        "continues unchanged",
    ),
    Row(
        "it is being asked about with other words now",
        do("pack", "pay"),
        [variant(2, PACK, PAY, SHIP._replace(command=a_command("ship", fields={"crate": (str, "")})))],
        "stranded",
        "its command is another message now",
    ),
    Row(
        "it is being asked about in another version of its words now",
        do("pack", "pay"),
        [variant(2, PACK, PAY, SHIP._replace(command=SHIP_2))],
        "stranded",
        "its command is another message now",
    ),
    Row(
        "what it undoes is undone with other words now",
        REFUSED,
        [variant(2, PACK, PAY._replace(undo=a_command("refund", fields={"why": (str, "")})), SHIP)],
        "stranded",
        "step 'pay' is being undone, and its undo is another message now",
    ),
    Row(
        "what it has yet to undo is undone with other words now",
        REFUSED,
        [variant(2, PACK._replace(undo=a_command("unpack", fields={"why": (str, "")})), PAY, SHIP)],
        "continues unchanged",
    ),
    Row(
        "its data has a new field with a default",
        do("pack"),
        [variant(2, PACK, PAY, SHIP, data=DataWithNote)],
        "continues unchanged",
    ),
    Row(
        "its data has a new required field",
        do("pack"),
        [variant(2, PACK, PAY, SHIP, data=DataWithSum)],
        "stranded",
        "its data cannot be read",
    ),
    Row(
        "the content was changed and the version was not",
        do("pack"),
        [variant(1, PACK, PAY, SHIP, MAIL)],
        "stranded",
        "raise it to version=2",
    ),
]


def under_way(path: Path, row: Row) -> SqliteStore:
    """A database with the row's run in it, as V1 left it."""
    store = SqliteStore(path / "orchestrator.db")
    node = Node(store, V1)
    node.start("o-1")
    for step, tag, operation in row.answers:
        node.reply("o-1", step, tag, operation)
    return store


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_pair_of_versions_has_its_verdict(row: Row, tmp_path: Path) -> None:
    store = under_way(tmp_path, row)
    instance = store.instance("tale", "o-1")
    assert instance is not None

    verdict, reasons, remedies = judged(Catalog(row.deployed, store), instance)

    assert verdict == row.verdict, reasons
    assert row.reason in "; ".join((*reasons, *remedies))
    store.close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_verdict_is_what_happens(row: Row, tmp_path: Path) -> None:
    store = under_way(tmp_path, row)
    if row.verdict == "stranded":
        with pytest.raises(StrandedInstances):
            admit(row.deployed, store, NOW_MS)
    else:
        node = Node(store, *row.deployed)
        before = node.instance("o-1")
        while not (instance := node.instance("o-1")).is_ended:
            assert answer(node, instance).revision > instance.revision
        finishes_on_old = row.verdict == "finishes on the old version"
        assert instance.version == (before.version if finishes_on_old else row.deployed[0].version)
        assert instance.state == ("compensated" if row.answers is REFUSED else "completed")
        assert store.dead_letters(9) == []
    store.close()


def answer(node: Node, instance: Instance) -> Instance:
    """Let the participant say: done, under the name it knows the step by."""
    ((step, phase),) = marks_of(instance.state)
    record = instance.step(step)
    assert record is not None
    known = [(d, d.renames.get(step, step)) for d in node.definitions]
    spec = next(d.steps[name] for d, name in known if name in d.steps)
    undo = phase == "undoing"
    assert spec.undo is not None or not undo
    replies: Sequence[tuple[str, type[Event]]] = list(
        (spec.undo.replies if undo and spec.undo else spec.replies).items()
    )
    tag = next(tag for tag, reply in replies if not issubclass(reply, Rejection))
    return node.reply("o-1", record.sent_as or step, tag, "undo" if undo else "do")


def test_renames_stay_for_as_long_as_a_run_lives_that_was_sent_under_the_old_name(tmp_path: Path) -> None:
    store = under_way(tmp_path, Row("", do("pack"), [], "stranded"))
    Node(store, variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})).fire()
    instance = store.instance("tale", "o-1")
    assert instance is not None
    assert [record.sent_as for record in instance.steps] == ["", "pay"]

    forgotten = variant(3, PACK, CHARGE, SHIP)
    verdict, reasons, remedies = judged(Catalog([forgotten], store), instance)
    assert verdict == "stranded"
    assert reasons == ("step 'charge' went out as 'pay', and answers under that name would be nobody's",)
    assert remedies == ('write renames={"pay": "charge"} beside the others',)

    billed = variant(3, PACK, PAY._replace(name="bill"), SHIP, renames={"charge": "bill"})
    assert judged(Catalog([billed], store), instance)[0] == "stranded"
    both = variant(3, PACK, PAY._replace(name="bill"), SHIP, renames={"charge": "bill", "pay": "bill"})
    assert judged(Catalog([both], store), instance)[0] == "continues under a mapping"
    back = variant(3, PACK, PAY, SHIP, renames={"charge": "pay"})
    assert judged(Catalog([back], store), instance)[0] == "continues under a mapping"
    store.close()


def with_other_code(definition: Definition, step: str, *, undo: bool = False) -> Definition:
    """The same, its command or undo built by another function."""
    spec = definition.steps[step]
    command_type: Any = spec.undo.command_type if undo and spec.undo is not None else spec.command_type

    def build(run: Any) -> Any:
        return command_type(k=run.k)

    if undo:
        assert spec.undo is not None
        changed = replace(spec, undo=replace(spec.undo, build=build))
    else:
        changed = replace(spec, build=build)
    return replace(definition, steps={**definition.steps, step: changed})


ASKED = "if it says something else now, its participant keeps to what it was asked first, and the run waits"
RENAMED = variant(2, PACK, CHARGE, SHIP, renames={"pay": "charge"})
SAID_AGAIN: list[tuple[Any, Definition, Verdict, tuple[str, ...]]] = [
    (
        do("pack", "pay"),
        with_other_code(V1, "ship"),
        "continues under the new code",
        (
            "other code: ship.command",
            f"step 'ship' is asked for until it answers, and its command has other code: {ASKED}",
        ),
    ),
    (do("pack"), with_other_code(V1, "ship"), "continues under the new code", ("other code: ship.command",)),
    (do("pack"), with_other_code(V1, "pay"), "continues under the new code", ("other code: pay.command",)),
    (do("pack"), with_other_code(V1, "pay", undo=True), "continues under the new code", ("other code: pay.undo",)),
    (
        REFUSED,
        with_other_code(V1, "pay", undo=True),
        "continues under the new code",
        ("other code: pay.undo", f"step 'pay' is being undone, and its undo has other code: {ASKED}"),
    ),
    (
        REFUSED,
        with_other_code(RENAMED, "charge", undo=True),
        "continues under a mapping",
        (
            "pay is charge",
            "other code: charge.undo",
            f"step 'charge' is being undone, and its undo has other code: {ASKED}",
        ),
    ),
]


@pytest.mark.parametrize(("answers", "new", "verdict", "reasons"), SAID_AGAIN)
def test_other_code_of_what_a_run_is_asking_again_is_told_with_what_comes_of_it(
    answers: Any, new: Definition, verdict: Verdict, reasons: tuple[str, ...], tmp_path: Path
) -> None:
    store = under_way(tmp_path, Row("", answers, [], verdict))
    instance = store.instance("tale", "o-1")
    assert instance is not None

    assert judged(Catalog([new], store), instance) == (verdict, reasons, ())
    store.close()


# --------------------------------------------------------------------------- before there is a run


def steps_of(old: Definition, *new: Definition) -> dict[str, str]:
    return {each.step: each.verdict for each in report("tale", [old], list(new), None).steps}


def test_each_step_of_the_old_version_has_a_verdict_without_any_run() -> None:
    assert steps_of(V1, variant(2, PACK, CHARGE, SHIP, MAIL, renames={"pay": "charge"})) == {
        "pack": "continues unchanged",
        "pay": "continues under a mapping",
        "ship": "continues under a mapping",
        "mail": "",
    }
    assert steps_of(V1, variant(2, PACK, CHARGE, SHIP)) == {
        "pack": "continues unchanged",
        "pay": "stranded",
        "ship": "stranded",
        "charge": "",
    }
    assert set(steps_of(V1, variant(2, PACK), V1).values()) == {"finishes on the old version"}
    assert set(steps_of(V1).values()) == {"stranded"}
    assert set(steps_of(V1, V1).values()) == {"continues unchanged"}


def test_runs_do_not_go_back_to_an_older_number_though_nothing_else_differs(tmp_path: Path) -> None:
    newer, older = variant(2, PACK, PAY, SHIP), variant(1, PACK, PAY, SHIP)
    assert newer.content == older.content
    assert set(steps_of(newer, older).values()) == {"stranded"}
    store = SqliteStore(tmp_path / "orchestrator.db")
    Node(store, newer).start("o-1")
    with pytest.raises(StrandedInstances):
        admit([older], store, NOW_MS)
    store.close()


def test_messages_in_the_topics_are_read_or_named() -> None:
    new = variant(2, PACK, pay_answering(receipt=str)._replace(command=a_command("charge")), SHIP)

    found = {(m.tag, m.read_by): m for m in message_reports(V1, new) if m.reading != "as it is"}

    assert found["pay.done", "the new orchestrator"].reasons == ("its answer 'pay.done' is not expected any more",)
    assert found["charge", "the old bank"].reasons == ("the old bank does not know 'charge': deploy bank first",)


def test_a_new_required_field_of_a_command_is_told_to_whom_it_hurts() -> None:
    new = variant(2, PACK, PAY._replace(command=a_command("pay", fields={"card": str})), SHIP)

    (hurt,) = [m for m in message_reports(V1, new) if m.reading == "not at all"]

    assert (hurt.tag, hurt.written_by, hurt.read_by) == ("pay", "the old orchestrator", "the new bank")
    assert hurt.reasons == ("card is new and required",)


def test_an_upcaster_makes_an_older_message_readable() -> None:
    raised = a_message("PayDone", "pay.done", {"amount": str}, version=2)
    without = a_message("PayDone", "pay.done", {"amount": str}, version=2)

    @upcast(raised, from_version=1)
    def _(data: dict[str, object]) -> dict[str, object]:
        return {**data, "amount": "0"}

    def reading(answer: type[Event]) -> tuple[str, tuple[str, ...]]:
        new = variant(2, PACK, PAY._replace(command=a_command("pay", answer)), SHIP)
        found = next(m for m in message_reports(V1, new) if m.tag == "pay.done" and "new" in m.read_by)
        return found.reading, found.reasons

    assert reading(raised) == ("by an upcaster", ())
    assert reading(without) == ("not at all", ("version 1 is not read any more, known: 2",))


def test_a_start_that_nobody_reads_any_more_strands_who_asked() -> None:
    other = variant(2, PACK, PAY, SHIP, start=a_message("Asked", "asked"))

    assert start_reports(V1, [other])[0].reasons == ("nothing is started by it on 'shop' any more",)
    assert report("tale", [V1], [other], []).verdict == "stranded"
    assert start_reports(V1, [other, V1])[0].reading == "as it is"


# --------------------------------------------------------------------------- the command


OLD = """
from tests.cli.test_rollout import PACK, PAY, SHIP
from tests.core.variants import a_saga
tale = a_saga(1, PACK, PAY, SHIP)
"""
NEW = OLD.replace("PAY, ", "CHARGE, ").replace("a_saga(1", "a_saga(2")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("old", OLD), ("new", NEW)):
        (tmp_path / name / "shop").mkdir(parents=True)
        (tmp_path / name / "shop" / "__init__.py").write_text("")
        (tmp_path / name / "shop" / "saga.py").write_text(text)
    return str(tmp_path / "old" / "shop" / "saga.py"), str(tmp_path / "new" / "shop" / "saga.py")


def test_two_releases_of_one_package_are_compared_by_their_files(terminal: Terminal, folders: tuple[str, str]) -> None:
    old, new = folders

    refused = terminal.type("rollout", old, new)
    forgiven = terminal.type("rollout", old, old)

    assert refused.exit_code == 1, refused.output
    assert "tale   version 1 → version 2   stranded" in refused.stdout
    assert "not looked at; name their database with --db" in refused.stdout
    assert (forgiven.exit_code, "continues unchanged" in forgiven.stdout) == (0, True)


CONTRACTS = """
from __future__ import annotations
import msgspec
from sagas import Command, Event, Participant
OFFICE = Participant("office", key="fair_id")
class Wish(msgspec.Struct, frozen=True):
    stand_id: str
    {field}: {kind}
class FairAsked(Event, tag="fair.asked"):
    fair_id: str
    wishes: list[Wish]
class Held(Event, tag="stand.held"):
    fair_id: str
    wish: Wish | None = None
class Hold(Command[Held], tag="stand.hold"):
    fair_id: str
class Freed(Event, tag="stand.freed"):
    fair_id: str
class Free(Command[Freed], tag="stand.free"):
    fair_id: str
"""
FAIR = """
import msgspec
from sagas import Saga, unchanged
from fairs.contracts import OFFICE, FairAsked, Free, Hold
class Fair(msgspec.Struct, frozen=True):
    fair_id: str
saga = Saga("fair", Fair, version={version})
@saga.start(on=OFFICE)
def begin(event: FairAsked) -> Fair:
    return Fair(event.fair_id)
@saga.step(to=OFFICE, timeout=3, unknown="undo")
def hold(fair: Fair) -> Hold:
    return Hold(fair_id=fair.fair_id)
@hold.undo
def _(fair: Fair) -> Free:
    return Free(fair_id=fair.fair_id)
hold.reply(unchanged)
saga.flow(hold)
"""


@pytest.fixture
def fairs(tmp_path: Path) -> tuple[Path, Path]:
    """Two releases of a package, whose contracts name their types as text: the second needs another field."""
    for name, field, kind, version in (("old", "size", "int", 1), ("new", "hall", "str", 2)):
        folder = tmp_path / name / "fairs"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "contracts.py").write_text(CONTRACTS.format(field=field, kind=kind))
        (folder / "saga.py").write_text(FAIR.format(version=version))
    return tmp_path / "old" / "fairs" / "saga.py", tmp_path / "new" / "fairs" / "saga.py"


def test_releases_whose_types_are_named_as_text_are_each_compared_as_they_are(
    terminal: Terminal, fairs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fairs
    monkeypatch.setattr(sys, "path", [str(new.parents[1]), *sys.path])

    by_files = terminal.type("rollout", str(old), str(new), "--json")
    by_name = terminal.type("rollout", str(old), "fairs.saga", "--json")

    for result in (by_files, by_name):
        assert result.exit_code == 1, result.output
        (saga,) = json.loads(result.stdout)
        assert saga["verdict"] == "stranded"
        assert [m["reasons"] for m in saga["messages"] if m["tag"] == "fair.asked"] != []


def test_a_saga_of_a_file_reads_messages_whose_types_are_named_as_text(fairs: tuple[Path, Path]) -> None:
    (definition,) = load([str(fairs[0])])

    fields = b'{"fair_id": "f-1", "wishes": [{"stand_id": "s", "size": 3}]}'
    assert start_message(definition, fields, NOW_MS).key == "f-1"


def test_modules_that_are_installed_below_a_projects_folder_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "bought_ones.py").write_text("")
    (tmp_path / "own_ones.py").write_text("import bought_ones\n" + OLD)
    monkeypatch.setattr(sys, "path", [str(installed), *sys.path])

    load([str(tmp_path / "own_ones.py")])

    assert ("bought_ones" in sys.modules, "own_ones" in sys.modules) == (True, False)
    del sys.modules["bought_ones"]


def test_with_a_database_its_live_runs_decide(terminal: Terminal, folders: tuple[str, str]) -> None:
    store = SqliteStore(terminal.database)
    node = Node(store, V1)
    for key in ("o-1", "o-2", "o-3"):
        node.start(key)
    node.reply("o-2", "pack", "pack.done")
    for step in ("pack", "pay", "ship"):
        node.reply("o-3", step, DONE[step])
    store.close()

    told = terminal.type("rollout", *folders, "--db", str(terminal.database))
    shape = terminal.type("rollout", *folders, "--db", str(terminal.database), "--json")

    assert told.exit_code == 1
    assert "2 live instances: 1 stranded, 1 continues unchanged" in told.stdout
    assert shape.exit_code == 1
    (saga,) = json.loads(shape.stdout)
    assert (saga["saga"], saga["old_version"], saga["new_version"], saga["verdict"]) == ("tale", 1, 2, "stranded")
    assert [(run["key"], run["verdict"]) for run in saga["instances"]] == [
        ("o-2", "stranded"),
        ("o-1", "continues unchanged"),
    ]
    assert 'renames={"pay": "charge"}' in saga["instances"][0]["remedies"][0]


def test_runs_of_a_saga_that_only_the_new_release_has_get_their_verdict_too(
    terminal: Terminal, folders: tuple[str, str], tmp_path: Path
) -> None:
    store = SqliteStore(terminal.database)
    Node(store, V1).start("o-1")
    store.close()
    other = tmp_path / "other.py"
    other.write_text("from tests.core.courses import Maker\nm = Maker()\nm.close(m.step('a'))\ncourse = m.saga\n")
    both = tmp_path / "both.py"
    both.write_text(other.read_text() + NEW.replace("PACK, CHARGE", "CHARGE"))
    database = ("--db", str(terminal.database))

    told = terminal.type("rollout", str(other), str(both), *database)
    shape = terminal.type("rollout", str(other), str(both), "--json", *database)
    nobodys = terminal.type("rollout", str(other), str(other), *database)

    assert told.exit_code == shape.exit_code == 1, told.output
    assert "tale   not in the old release → version 2   stranded" in told.stdout
    course, tale = json.loads(shape.stdout)
    assert (course["saga"], course["instances"]) == ("course", [])
    assert (tale["saga"], tale["old_version"], tale["new_version"], tale["verdict"]) == ("tale", 0, 2, "stranded")
    assert [(run["key"], run["verdict"]) for run in tale["instances"]] == [("o-1", "stranded")]
    assert nobodys.exit_code == 0
    assert "1 live instances of sagas that neither release has: not looked at" in nobodys.stderr


def test_what_cannot_be_compared_is_said(terminal: Terminal, folders: tuple[str, str]) -> None:
    missing = terminal.type("rollout", "nowhere.py", folders[1])

    assert missing.exit_code == 1
    assert "there is no file nowhere.py" in missing.stderr
