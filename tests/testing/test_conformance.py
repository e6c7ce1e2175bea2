"""The conformance run finds what it looks for: a participant written by hand fails the line of each of its flaws."""

import subprocess
import sys

import pytest

from sagas import InProgress
from sagas.errors import SettingsError
from sagas.ports import Sql
from sagas.runtime.participant import Service
from sagas.testing.conformance import Example, Report, conformance, load_subject
from tests.testing.naive import CHAIRS, MIGRATIONS, Flaw, Full, Naive, Rise, Risen, Seat, Seated


def _bring_chairs(sql: Sql) -> None:
    sql.execute("UPDATE room SET chairs = 100")


EXAMPLE = Example(
    Seat(guest_id="g-1", chairs=4),
    undo=Rise(guest_id="g-1"),
    refused=Seat(guest_id="g-1", chairs=40),
    mend=_bring_chairs,
)

DO_LINES = {
    "repeat",
    "crash before commit",
    "crash after commit",
    "handler raises",
    "same id, another body",
    "undo before do",
    "do after undo",
    "do and undo at once",
    "refusal, then repeat",
    "expired command",
}

ON_REFUSALS = {"refusal, then repeat", "expired command"}

UNDO_LINES = {"repeat", "crash before commit", "crash after commit", "handler raises", "same id, another body"}


def attack(flaws: Flaw) -> Report:
    return conformance(Naive(flaws), MIGRATIONS, [EXAMPLE])


def failed(report: Report, command: str = "Seat") -> set[str]:
    return {row.line for row in report.failures if row.command == command}


def test_a_barrier_of_ones_own_that_has_no_flaw_conforms() -> None:
    attack(Flaw.NONE).assert_passed()


def test_a_participant_with_every_flaw_fails_every_line() -> None:
    report = attack(Flaw.ALL)
    assert failed(report) == DO_LINES
    assert {row.line for row in report.rows if row.command == "Seat"} == DO_LINES
    assert failed(report, "Rise") == UNDO_LINES == {row.line for row in report.rows if row.command == "Rise"}


@pytest.mark.parametrize(
    ("flaw", "lines"),
    [
        (Flaw.FORGETS_REFUSALS, {"refusal, then repeat", "expired command"}),
        (Flaw.SILENT_ON_REPEAT, {"repeat", "crash after commit", *ON_REFUSALS, "undo before do"}),
        (Flaw.FRESH_ANSWER_ON_REPEAT, {"repeat", "crash after commit", *ON_REFUSALS, "undo before do"}),
        (Flaw.UNDOES_WHAT_NEVER_WAS, {"undo before do", "do and undo at once"}),
        (Flaw.UNDO_DOES_NOT_BLOCK, {"do after undo", "do and undo at once"}),
        (Flaw.LOOKS_BEFORE_THE_BATCH, {"repeat", "do and undo at once"}),
        (Flaw.TAKES_ANY_BODY, {"same id, another body"}),
        (Flaw.SWALLOWS, {"handler raises"}),
        (Flaw.IGNORES_DEADLINES, {"expired command"}),
    ],
)
def test_a_single_flaw_is_found_by_the_lines_it_is_about(flaw: Flaw, lines: set[str]) -> None:
    assert lines <= failed(attack(flaw)) <= DO_LINES
    if flaw not in (Flaw.UNDOES_WHAT_NEVER_WAS, Flaw.LOOKS_BEFORE_THE_BATCH):
        assert failed(attack(flaw)) == lines


def test_an_answer_of_its_own_transaction_is_lost_in_a_crash_and_given_again_after_it() -> None:
    # The effect is remembered with its answer, so a redelivery makes up for the lost one: that is allowed.
    assert failed(attack(Flaw.ANSWERS_LATER)) == set()
    assert "crash before commit" in failed(attack(Flaw.ANSWERS_LATER | Flaw.FORGETS))


def test_assert_passed_tells_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"Seat\s+repeat\s+guest\.seated, then guest\.seated of other bytes"):
        attack(Flaw.FRESH_ANSWER_ON_REPEAT).assert_passed()


def test_a_report_that_attacked_nothing_has_not_passed() -> None:
    with pytest.raises(AssertionError, match="nothing was attacked"):
        Report("chairs", ()).assert_passed()


def test_a_command_without_an_example_fails() -> None:
    report = conformance(
        Naive(Flaw.NONE), MIGRATIONS, [Example(Seat(guest_id="g-1", chairs=4), refused=EXAMPLE.refused)]
    )
    assert [(row.command, row.line) for row in report.failures] == [("guest.rise", "has an example")]


@pytest.mark.parametrize(
    ("example", "seen"),
    [
        (Example(Seat(guest_id="g-1", chairs=4)), "give an example that is refused"),
        (Example(Seat(guest_id="g-1", chairs=4), refused=Seat(guest_id="g-1", chairs=5)), "was answered guest.seated"),
        (
            Example(Seat(guest_id="g-1", chairs=4), refused=EXAMPLE.refused, mend=lambda sql: None),
            "mend changes nothing",
        ),
    ],
    ids=["no refused example", "it is not refused", "the hook changes nothing"],
)
def test_an_example_that_proves_nothing_fails_its_line(example: Example, seen: str) -> None:
    report = conformance(Naive(Flaw.NONE), MIGRATIONS, [example])
    (row,) = [row for row in report.failures if row.line == "refusal, then repeat"]
    assert seen in row.seen


def test_an_example_that_is_refused_fails_instead_of_proving_nothing() -> None:
    report = conformance(Naive(Flaw.NONE), MIGRATIONS, [Example(Seat(guest_id="g-1", chairs=40))])
    assert "give one that is carried out" in {r.line: r.seen for r in report.failures}["crash before commit"]


def test_what_is_given_is_there_before_each_attack() -> None:
    seats_many = Example(
        Seat(guest_id="g-1", chairs=40), undo=Rise(guest_id="g-1"), refused=Seat(guest_id="g-1", chairs=400),
        given=_bring_chairs,
    )  # fmt: skip
    conformance(Naive(Flaw.NONE), MIGRATIONS, [seats_many]).assert_passed()


def test_a_handler_that_answers_later_is_attacked_like_any_other() -> None:
    service = Service(CHAIRS)

    @service.handles
    def _(sql: Sql, command: Seat) -> Seated | Full | InProgress:
        if command.chairs > 10:
            return Full(guest_id=command.guest_id)
        sql.execute("INSERT INTO guests VALUES (?, ?)", [command.guest_id, command.chairs])
        return InProgress()

    @service.undoes
    def _(sql: Sql, command: Rise) -> Risen:
        sql.execute("DELETE FROM guests WHERE guest_id = ?", [command.guest_id])
        return Risen(guest_id=command.guest_id)

    example = Example(Seat(guest_id="g-1", chairs=4), undo=Rise(guest_id="g-1"), refused=EXAMPLE.refused)
    conformance(service, MIGRATIONS, [example]).assert_passed()


def test_a_service_is_found_by_its_folder_or_its_module() -> None:
    assert load_subject("services.inventory") is load_subject("services.inventory.conformance")
    with pytest.raises(SettingsError, match="no `CONFORMANCE = Subject"):
        load_subject("services.money")


def test_the_command_prints_the_table_and_says_by_its_exit_code_how_it_went() -> None:
    command = [sys.executable, "-m", "sagas.testing.conformance"]
    passed = subprocess.run([*command, "services.shipping"], capture_output=True, text=True, check=False)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert "crash after commit     passed" in passed.stdout
    failing = subprocess.run([*command, "tests.testing.naive_subject"], capture_output=True, text=True, check=False)
    assert (failing.returncode, "15 failed" in failing.stdout) == (1, True)
    nothing = subprocess.run([*command, "services.money"], capture_output=True, text=True, check=False)
    assert (nothing.returncode, "CONFORMANCE" in nothing.stderr) == (2, True)
