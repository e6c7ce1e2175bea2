"""docs/guide.md is whole and true: every heading of the guide, and nothing that does not exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagas.cli.main import COMMANDS
from sagas.config import Settings
from sagas.store.database import Database
from sagas.store.sqlite import SqliteStore
from tests.guide.page import page
from tests.guide.rows import ROWS
from tests.guide.table import HEADINGS
from tests.rules.source import ROOT

_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def headings() -> Iterator[str]:
    for title, parts in HEADINGS:
        yield from parts or (title,)


def test_every_heading_of_the_guide_has_a_row_and_no_row_is_of_another() -> None:
    assert list(ROWS) == list(headings())
    assert len(HEADINGS) == 11
    assert len(ROWS) == 37


@pytest.mark.parametrize("heading", list(headings()))
def test_a_row_names_files_that_exist_a_command_and_a_test(heading: str) -> None:
    row = ROWS[heading]
    assert row.files
    assert row.commands
    assert row.tests
    assert [file for file in row.files if not (ROOT / file).is_file()] == []


def test_every_command_has_its_target() -> None:
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    for row in ROWS.values():
        for command in row.commands:
            program, target = command.split()
            assert target in {"make": targets, "sagas": set(COMMANDS)}[program], command


def test_every_test_that_is_named_is_one_that_pytest_finds() -> None:
    wanted = sorted({test for row in ROWS.values() for test in row.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *wanted]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    found = run.stdout
    assert [test for test in wanted if test not in found] == []


def test_the_page_is_what_the_table_says() -> None:
    assert (ROOT / "docs/guide.md").read_text(encoding="utf-8") == page(), "stale: run `make guide`"


def test_a_page_that_misses_a_heading_would_be_noticed() -> None:
    written = page()
    assert [heading for heading in headings() if f"| {heading} |" not in written] == []


def test_the_outbox_has_the_guides_columns_and_pace(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    SqliteStore(path).close()
    database = Database(path)
    columns = {str(name) for _, name, *_ in database.rows("PRAGMA table_info(outbox)")}
    database.close()
    guide = {"id", "event_type", "payload", "created_at", "published_at", "aggregate_type", "aggregate_id"}
    assert guide <= columns
    assert Settings().outbox_interval_ms == 100
    assert Settings.from_environ({"SAGAS_OUTBOX_BATCH": "100"}).outbox_batch == 100
