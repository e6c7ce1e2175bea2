"""Every race has exactly one test, or is listed with what it lacks."""

import ast
from pathlib import Path

from tests.races.missing import MISSING
from tests.races.table import RACES, number_of, words_of


def _tests() -> list[str]:
    names: list[str] = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and number_of(node.name):
                names.append(node.name)
    return names


def test_each_race_has_a_test_or_is_listed_as_missing_and_none_has_both() -> None:
    tested = [number_of(name) for name in _tests()]
    assert sorted([*tested, *MISSING]) == list(RACES)


def test_what_is_listed_as_missing_says_what_and_why() -> None:
    assert [number for number, missing in MISSING.items() if not (missing.race and missing.why)] == []


def test_a_test_s_name_is_a_sentence_behind_its_number() -> None:
    assert [name for name in _tests() if len(words_of(name).split()) < 6] == []
