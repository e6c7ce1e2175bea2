"""`docs/first-project.md` is true: a reader who follows it from its beginning to its end sees what it shows.

The page is read in its order. A block behind a line that is a file's name is written there; the commands of a console
are typed, those that end in `&` are processes; the lines below a command are in what it prints, in their order, `…`
standing for anything. Two things are done otherwise than there: nothing is installed, for this needs no package index,
and the broker has a port of its own.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.rules.source import ROOT

PAGE = ROOT / "docs" / "first-project.md"
WAIT_S_MAX = 60.0
"""For a process to be ready, or for a command to print what the page shows."""

_PART = re.compile(r"^(?:`(?P<file>[^`\n]+)`:\n\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Typed(NamedTuple):
    """A command of the page, and what it shows below it."""

    line: str
    shown: Sequence[str]


class Reader:
    """Who follows the page: their folder, and the processes that run in it."""

    def __init__(self, folder: Path) -> None:
        (folder / "library").mkdir()
        self.folder = folder / "project"
        self.folder.mkdir()
        # As it is when installed: the library, and neither the demo nor these tests.
        (folder / "library" / "sagas").symlink_to(ROOT / "sagas")
        self.address = f"127.0.0.1:{_free_port()}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("IGGY_", "SAGAS_", "PYTEST_"))}
        self.environ: Mapping[str, str] = {
            **clean,
            "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
            "PYTHONPATH": str(folder / "library"),
            "IGGY_CONNECTION_STRING": f"iggy://iggy:iggy@{self.address}",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.were_ended = False

    def write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def type(self, typed: Typed) -> None:
        if typed.line.endswith(" &"):
            self._start(typed.line.removesuffix(" &"))
        elif "jobs -p" in typed.line:
            self.end()
        else:
            self._run(typed)

    def _start(self, line: str) -> None:
        if line == "sagas broker":
            line += f" --address {self.address}"
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            self.processes[line] = subprocess.Popen(
                shlex.split(line), cwd=self.folder, env=self.environ, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        for number, line in enumerate(self.processes):
            log = self.folder / f"{number}.log"
            _wait_until(partial(_says_ready, log), f"{line} to be ready")

    def _run(self, typed: Typed) -> None:
        # What is looked at may take a moment to be there; what does something is done once.
        tries_until = time.monotonic() + (WAIT_S_MAX if typed.line.startswith(("sagas show", "sagas list")) else 0)
        line = f"{typed.line} --sim-seeds 1 -p no:cacheprovider" if " pytest" in typed.line else typed.line
        while True:
            ran = subprocess.run(
                ["bash", "-c", line],
                cwd=self.folder,
                env={**self.environ, "COLUMNS": "200"},
                capture_output=True,
                text=True,
                timeout=WAIT_S_MAX,
                check=False,
            )
            if ran.returncode == 0 and is_shown(ran.stdout, typed.shown):
                return
            if time.monotonic() > tries_until:
                pytest.fail(f"$ {line}\nshould show\n{chr(10).join(typed.shown)}\nshows\n{ran.stdout}{ran.stderr}")
            time.sleep(0.2)

    def end(self) -> None:
        """End all that run, as `kill` does; what they said is in their logs."""
        self.were_ended = bool(self.processes)
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for line, process in self.processes.items():
            assert process.wait(WAIT_S_MAX) == 0, line
        self.processes = {}

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _says_ready(log: Path) -> bool:
    return "ready " in log.read_text(encoding="utf-8")


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WAIT_S_MAX
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"not within {WAIT_S_MAX} s: {what}")
        time.sleep(0.05)


def typed_in(text: str) -> Iterator[Typed]:
    """The commands of a console block."""
    for part in text.split("$ ")[1:]:
        line, *shown = part.splitlines()
        yield Typed(line, shown)


def is_shown(printed: str, shown: Sequence[str]) -> bool:
    """Whether the lines are among what was printed, in their order, whatever the space between words."""
    lines = iter([" ".join(line.split()) for line in printed.splitlines()])
    patterns = [re.escape(" ".join(line.split())).replace("…", ".*") for line in shown]
    return all(any(re.search(pattern, line) for line in lines) for pattern in patterns)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.kill()


@pytest.mark.e2e
def test_who_follows_the_page_sees_what_it_shows(reader: Reader) -> None:
    parts = list(_PART.finditer(PAGE.read_text(encoding="utf-8")))
    files = [part["file"] for part in parts if part["file"] is not None]
    for part in parts:
        if part["file"] is not None:
            reader.write(part["file"], part["text"])
        elif part["language"] == "console" and "pip install" not in part["text"]:
            for typed in typed_in(part["text"]):
                reader.type(typed)
            reader.wait_until_ready()

    assert {"pyproject.toml", "conftest.py", "tests/test_trip.py"} < set(files)
    assert reader.were_ended, "the page says how to end what it started"
    assert not reader.processes


def test_the_installation_on_the_page_is_that_of_this_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = PAGE.read_text(encoding="utf-8")

    (name, extra), *_ = re.findall(r'"([\w-]+)\[(\w+)\] @ git\+', text)
    assert (name, extra in project["optional-dependencies"]) == (project["name"], True)
    assert f'pip install "../sagas[{extra}]"' in text


def test_every_python_block_of_the_page_is_a_file_of_the_project() -> None:
    parts = list(_PART.finditer(PAGE.read_text(encoding="utf-8")))
    assert [part["text"] for part in parts if part["language"] in ("python", "toml") and part["file"] is None] == []
