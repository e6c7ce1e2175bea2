"""`sagas check`, as an author types it."""

import json
import re
from pathlib import Path

from sagas.check.counterexample import Counterexample
from sagas.check.report import Coverage, Report
from tests.cli.conftest import Terminal
from tests.rules.source import ROOT


def test_a_saga_that_holds_is_told_with_its_figures(terminal: Terminal) -> None:
    result = terminal.type("check", "services.orders.saga:order")
    assert result.exit_code == 0, result.output
    assert "saga order version 1: OK" in result.stdout
    assert "undo edges  30 of 30 taken, 100 %" in result.stdout
    assert "every state there is" in result.stdout


def test_the_page_shows_what_is_printed(terminal: Terminal) -> None:
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    shown = page.partition("$ sagas check services.orders.saga\n")[2].partition("```")[0]
    printed = terminal.type("check", "services.orders.saga").stdout

    assert untimed(shown) == untimed(printed)


def untimed(text: str) -> list[str]:
    """Its lines but for the one that says how long it took."""
    return [line for line in text.splitlines() if line and not line.startswith("  time ")]


def test_a_broken_law_is_drawn_written_and_ends_with_1(terminal: Terminal, tmp_path: Path) -> None:
    drawing, scenario = tmp_path / "found.mmd", tmp_path / "test_found.py"
    result = terminal.type(
        "check", "services.orders.saga", "--no-barrier", "--mermaid", str(drawing), "--scenario", str(scenario)
    )
    assert result.exit_code == 1
    assert "create took effect twice" in result.stdout
    assert drawing.read_text(encoding="utf-8").startswith("sequenceDiagram\n")
    assert "def test_order_once() -> None:" in scenario.read_text(encoding="utf-8")


def test_the_report_as_json_has_the_counterexample(terminal: Terminal) -> None:
    result = terminal.type("check", "services.orders.saga", "--participants", "forget-refusals", "--json")
    assert result.exit_code == 1
    (report,) = json.loads(result.stdout)
    assert (report["saga"], report["is_ok"], report["assumptions"]) == (
        "order",
        False,
        ["participants forget-refusals"],
    )
    assert report["counterexample"]["law"] == "rest"
    assert report["counterexample"]["messages"] == 3
    assert report["duration_ms"] >= 0


def test_a_saga_is_checked_by_its_file(terminal: Terminal, tmp_path: Path) -> None:
    result = terminal.type("check", "examples/parcel_shipping/saga.py", "--depth", "3")
    assert result.exit_code == 0, result.output
    assert "explored to depth 3" in result.stdout


def test_a_drawing_that_would_have_no_folder_is_refused_before_anything_is_explored(
    terminal: Terminal, tmp_path: Path
) -> None:
    for option in ("--mermaid", "--scenario"):
        result = terminal.type("check", "services.orders.saga", "--no-barrier", option, str(tmp_path / "none" / "x"))
        assert (result.exit_code, result.stdout) == (2, "")
        said = "".join(result.stderr.replace("│", " ").split())
        assert f"thereisnofolder{tmp_path / 'none'}" in said, "wherever the line is broken"


def test_a_drawing_that_cannot_be_written_is_said(terminal: Terminal, tmp_path: Path) -> None:
    result = terminal.type("check", "services.orders.saga", "--no-barrier", "--mermaid", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"sagas: {tmp_path}: Is a directory; it was not written\n"


def test_what_cannot_be_checked_ends_with_2(terminal: Terminal) -> None:
    for wanted in ("services.nowhere", "services.money"):
        result = terminal.type("check", wanted)
        assert result.exit_code == 2
        assert result.stderr.startswith("sagas: ")


def test_a_bounded_search_says_how_far_it_went(terminal: Terminal) -> None:
    result = terminal.type("check", "services.orders.saga", "--depth", "3")
    assert result.exit_code == 0
    assert result.stdout.startswith("saga order version 1: OK as far as it was explored\n")
    assert "explored to depth 3: there are more" in result.stdout


def test_each_broken_saga_has_a_file(terminal: Terminal, tmp_path: Path) -> None:
    found = tmp_path / "found.py"
    assert terminal.type("check", "tests.check.parcels", "--scenario", str(found)).exit_code == 1
    assert "def test_decides_first_author" in found.read_text(encoding="utf-8")
    other = found.with_stem("found_decides_later")
    assert "def test_decides_later_author" in other.read_text(encoding="utf-8")


def test_the_page_of_the_command_line_names_every_field_of_the_json() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("### `sagas check")[2].partition("\n### ")[0]
    named = set(re.findall(r"(\w+)`", section))
    fields = {*Report.__struct_fields__, *Coverage.__struct_fields__, *Counterexample.__struct_fields__, "duration_ms"}
    assert fields - named == set()
