"""The standard streams: closed, full, or of an encoding that lacks what is said."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from sagas.streams import announce
from tests.cli.conftest import Terminal, a_declined_order, write

NAME = "Zoë → 木\x7f\x9b"


def typed(
    terminal: Terminal, *words: str, shell: str = "", environ: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `sagas` in a process of its own; `shell` is put behind it."""
    command = f'exec "{sys.executable}" -m sagas "$@" {shell}'
    ran = subprocess.run(
        ["/bin/sh", "-c", command, "sh", *words],
        env={**os.environ, "SAGAS_DATA": str(terminal.database.parent), **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return ran.returncode, ran.stdout.decode("latin-1"), ran.stderr.decode("latin-1")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("words", [("list",), ("show", "o-1"), ("check", "services.orders.saga", "--no-barrier")])
def test_what_the_encoding_of_stdout_lacks_is_left_out_and_nothing_fails(
    terminal: Terminal, encoding: str, words: tuple[str, ...]
) -> None:
    write(terminal, [a_declined_order("o-1", reason=NAME)])

    code, said, errors = typed(terminal, *words, environ={"PYTHONIOENCODING": encoding})

    assert (code, errors) == (int("check" in words), "")
    assert said


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_json_says_the_same_in_every_encoding_with_all_control_characters_escaped(
    terminal: Terminal, encoding: str
) -> None:
    write(terminal, [a_declined_order("o-1", reason=NAME)])

    code, said, errors = typed(terminal, "show", "o-1", "--json", environ={"PYTHONIOENCODING": encoding})

    assert (code, errors) == (0, "")
    raw = said.encode("latin-1")
    shown = raw.decode("utf-8")
    assert json.loads(shown)["cause"] == f"pay: PaymentFailed ({NAME})"
    assert not {"\x7f", "\x9b"} & set(shown)
    assert raw.isascii() == (encoding != "utf-8")


@pytest.mark.parametrize("words", [("list",), ("show", "o-1"), ("show", "o-1", "--json"), ("--help",), ("config",)])
def test_closed_streams_are_as_good_as_nowhere(terminal: Terminal, words: tuple[str, ...]) -> None:
    write(terminal, [a_declined_order("o-1")])
    before = terminal.database.read_bytes()

    assert typed(terminal, *words, shell=">&-") == (0, "", "")
    assert typed(terminal, *words, shell="<&- >&- 2>&-") == (0, "", "")
    assert terminal.database.read_bytes() == before


@pytest.mark.parametrize("words", [("list",), ("show", "o-1", "--json"), ("--help",), ("list", "--help")])
def test_output_that_cannot_be_written_is_one_line_and_a_failure(terminal: Terminal, words: tuple[str, ...]) -> None:
    write(terminal, [a_declined_order("o-1")])

    assert typed(terminal, *words, shell=">/dev/full") == (1, "", "sagas: No space left on device\n")


def test_an_event_from_a_closed_stdin_is_no_event(terminal: Terminal) -> None:
    code, said, errors = typed(terminal, "start", "order", "-", shell="<&-")

    assert (code, said) == (1, "")
    assert errors.startswith("sagas: the event is not one JSON object")


def test_a_process_goes_on_though_nobody_can_be_told_that_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        announce("ready")
        announce("still")
    monkeypatch.setattr(sys, "stdout", None)
    announce("ready")
