"""What the README shows is true: its Python runs, its commands exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from sagas.cli.main import COMMANDS
from tests.rules.source import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


PAGES = (
    "README.md",
    "docs/participants.md",
    "docs/read-models.md",
    "docs/testing.md",
    "docs/versions.md",
    "docs/writing-sagas.md",
)
"""Whose Python blocks are run; those of `docs/first-project.md` are, as a whole, in `test_first_project.py`."""


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Block(page, text[: match.start()].count("\n") + 1, match[1], match[2]) for match in _FENCE.finditer(text)]
    return [block for block in found if block.language in languages]


def name_of(block: Block) -> str:
    """Where a block stands, for the name of its test."""
    return f"{block.page}:{block.line}"


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "python")], ids=name_of)
def test_a_python_block_runs(block: Block, tmp_path: Path) -> None:
    # As a file, as a reader would: annotations and steps are read from their module.
    script = tmp_path / "example.py"
    script.write_text(block.text, encoding="utf-8")

    # One with a test is handed to pytest, as its reader would.
    pytest_of_it = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "sagas.testing.plugin", "--sim-seeds", "1"]
    command = [*pytest_of_it, str(script)] if "\ndef test_" in block.text else [str(script)]
    # One that is a process would run until it is told to stop: it is read as far as that.
    command = ["-c", "import example"] if '__name__ == "__main__"' in block.text else command
    ran = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "block", [*blocks("README.md", "bash", "console", "sh"), *blocks("CONTRIBUTING.md", "bash", "console")], ids=name_of
)
def test_a_command_that_is_shown_exists(block: Block) -> None:
    # The long ones (`make demo`) are run from end to end elsewhere: here it counts that they are there.
    unknown = [line for line in commands(block) if not is_known(line)]

    assert unknown == []


def commands(block: Block) -> list[str]:
    """The commands of a block: of a console those behind the prompt, otherwise every line."""
    lines = [line.strip() for line in block.text.splitlines()]
    if block.language == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


def is_known(line: str) -> bool:
    """Whether the command is one of ours, or one that a machine has."""
    words = [word for word in shlex.split(line, comments=True) if "=" not in word]
    program = os.path.basename(words[0]) if words else ""
    if program == "sagas":
        return len(words) > 1 and (words[1] in COMMANDS or words[1].startswith("-"))
    if program == "make":
        targets = _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
        return all(word in targets for word in words[1:])
    if program.startswith("python") and words[1:2] == ["-m"]:
        return (ROOT / words[2].replace(".", "/")).exists() or (ROOT / f"{words[2].replace('.', '/')}.py").exists()
    if program.startswith("python") and len(words) > 1:
        return (ROOT / words[1]).exists()
    return program in ("git", "cd", "curl", "pip", "export", "source")


def test_every_target_of_the_makefile_is_explained_by_make_itself() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)

    assert sorted(phony[0].split()) == sorted(explained)
