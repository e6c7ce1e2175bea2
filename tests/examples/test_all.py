"""What holds for each of the sagas in examples/."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sagas.cli.definitions import load
from sagas.cli.main import cli
from tests.drawings import FOLDER, ROOT, example_modules

SAGAS = sorted((ROOT / "examples").glob("*/saga.py"))


def test_there_are_six() -> None:
    assert len(SAGAS) == 6
    assert {d.name for d in load(example_modules())} >= {
        "transfer",
        "booking",
        "renewal",
        "environment",
        "return",
        "shipment",
    }


@pytest.mark.parametrize("path", SAGAS, ids=lambda path: path.parent.name)
def test_a_saga_is_under_sixty_lines_and_has_its_drawing_and_its_stories(path: Path) -> None:
    definitions = load([f"examples.{path.parent.name}.saga"])

    assert path.read_text(encoding="utf-8").count("\n") < 60
    assert all((FOLDER / f"{definition.name}.mmd").is_file() for definition in definitions)
    assert (ROOT / "tests" / "examples" / f"test_{path.parent.name}.py").is_file()


@pytest.mark.parametrize("path", SAGAS, ids=lambda path: path.parent.name)
def test_no_run_of_it_goes_wrong(path: Path) -> None:
    checked = CliRunner().invoke(cli, ["check", f"examples.{path.parent.name}.saga"])

    assert checked.exit_code == 0, checked.output
    assert ": OK\n" in checked.stdout
