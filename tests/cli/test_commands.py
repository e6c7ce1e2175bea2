"""The command line as a whole: what it offers, how it finds sagas, and how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from sagas.cli.definitions import find, load, modules_wanted
from sagas.cli.main import COMMANDS
from sagas.config_layers import read_settings
from sagas.errors import SettingsError
from services.orders.saga import order_saga
from tests.cli.conftest import Terminal, a_declined_order, write

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_and_loads_none() -> None:
    asked = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sagas", "--help"], capture_output=True, text=True, check=True
    )

    for name, line in COMMANDS.items():
        assert name in asked.stdout
        assert line in asked.stdout
    imported = {line.rpartition("|")[2].strip() for line in asked.stderr.splitlines()}
    assert not imported & {"anyio", "apache_iggy", "sqlite_utils", "sagas.cli.show", "sagas.store.sqlite"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(terminal: Terminal, name: str) -> None:
    result = terminal.type(name, "--help")

    assert result.exit_code == 0
    assert f"Usage: sagas {name}" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("list", "--nonsense"),
        ("list", "--limit", "0"),
        ("list", "--before", "nonsense"),
        ("show",),
        ("start", "order", "{", "}"),
        ("run", "services.orders.saga", "--partitions", "0"),
        ("run", "services.orders.saga", "--stream", ""),
        ("config", "--log-level", "LOUD"),
    ],
)
def test_what_is_asked_wrongly_is_exit_code_2(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    assert terminal.type(*arguments).exit_code == 2


def test_a_reader_that_has_seen_enough_gets_no_traceback(terminal: Terminal) -> None:
    write(terminal, [a_declined_order(f"o-{number}") for number in range(500)])
    listing = subprocess.Popen(
        [sys.executable, "-m", "sagas", "list", "--json", "--limit", "500", "--db", str(terminal.database)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    with listing.stdout as output, listing.stderr as errors:
        output.read(10)
        output.close()
        assert errors.read() == b""
    listing.wait()


def test_a_saga_is_drawn_by_its_name(terminal: Terminal) -> None:
    result = terminal.type("diagram", "order", "-m", "services.orders.saga")

    assert result.exit_code == 0
    assert result.stdout == (ROOT / "diagrams" / "order.mmd").read_text(encoding="utf-8")


def test_a_name_that_is_not_known_lists_those_that_are(terminal: Terminal) -> None:
    result = terminal.type("diagram", "oder", "-m", "services.orders.saga", "-m", "tests.core.trip")

    assert result.exit_code == 1
    assert result.stderr == "sagas: no saga 'oder'; known: order, trip; did you mean 'order'?\n"


def test_one_saga_of_a_module_can_be_named_by_its_variable_or_its_name() -> None:
    assert load(["tests.core.trip:trip_saga"]) == load(["tests.core.trip:trip"]) == load(["tests.core.trip"])


@pytest.mark.parametrize("module", ["services.nowhere", "nowhere", "services.money", "tests.core.trip:other"])
def test_a_module_without_a_saga_is_refused_by_its_name(module: str) -> None:
    with pytest.raises(SettingsError, match=module.partition(":")[0]):
        load([module])


@pytest.mark.parametrize("name", ["", ":", ".", ".x", "..", "a..b", "nowhere.py", ".py"])
@pytest.mark.parametrize("command", ["check", "run", "conformance", "replay"])
def test_what_is_no_name_of_a_module_is_refused_in_one_line(terminal: Terminal, command: str, name: str) -> None:
    result = terminal.type(command, name)

    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("sagas: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(", "SyntaxError: '(' was never closed (broken.py, line 1)"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run", "conformance", "replay"])
def test_a_module_that_cannot_be_imported_is_told_in_one_line_with_its_place(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, text: str, said: str
) -> None:
    (tmp_path / "broken.py").write_text(f"{text}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    for name in ("broken", str(tmp_path / "broken.py")):
        result = terminal.type(command, name)

        assert result.exit_code == (2 if command == "check" else 1)
        assert result.stderr.startswith(f"sagas: broken cannot be imported: {said}")
        assert result.stderr.count("\n") == 1
        assert f"{tmp_path / 'broken.py'}:1" in result.stderr or "line 1" in result.stderr


def test_instances_are_listed_though_the_module_of_their_saga_ends_the_process(
    full: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ending.py").write_text("raise SystemExit(7)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("SAGAS_DEFINITIONS", "ending")

    result = full.type("list")

    assert (result.exit_code, "o-1" in result.stdout) == (0, True)


def test_no_saga_at_all_says_where_one_would_be_found() -> None:
    with pytest.raises(SettingsError, match=r"--module, SAGAS_DEFINITIONS or \[tool.sagas\]"):
        find([], "order")


def test_modules_given_win_over_the_environment_and_that_over_the_project() -> None:
    environ = {"SAGAS_DEFINITIONS": "a.b, c.d"}

    assert modules_wanted(("x",), environ, ROOT) == ("x",)
    assert modules_wanted((), environ, ROOT) == ("a.b", "c.d")
    assert modules_wanted((), {}, ROOT / "services" / "orders") == ("services.orders.saga",)
    assert load(modules_wanted((), {}, ROOT)) == [order_saga.definition]


def test_a_folder_without_a_project_has_no_sagas(tmp_path: Path) -> None:
    assert modules_wanted((), {}, tmp_path) == ()


@pytest.mark.parametrize("text", ["[tool.sagas\n", "[tool.sagas]\ndefinitions = 'services.orders.saga'\n"])
def test_a_project_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(SettingsError, match=r"pyproject\.toml"):
        read_settings({}, folder=tmp_path)


def test_a_broker_that_may_be_reached_from_outside_is_refused(terminal: Terminal) -> None:
    result = terminal.type("broker", "--address", "0.0.0.0:0")

    assert result.exit_code == 1
    assert "loopback only" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order"], "flowchart TD"),
        (["--instance", "o-1"], "HERE#58; compensated"),
        (["--sequence", "o-1"], "n_orchestrator->>n_payments: payment.process"),
        (["--map"], '[("payments-commands")]'),
    ],
)
def test_a_drawing_is_printed_as_it_was_asked_for(full: Terminal, arguments: list[str], said: str) -> None:
    drawn = full.type("diagram", *arguments)

    assert drawn.exit_code == 0, drawn.output
    assert said in drawn.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "which saga?"),
        (["order", "--map", "--instance", "o-1"], 2, "ask for one"),
        (["--instance", "o-9"], 1, "no instance"),
        (["--instance", "t-1"], 1, "no saga 'trip'"),
    ],
)
def test_a_drawing_that_cannot_be_made_is_said(full: Terminal, arguments: list[str], code: int, said: str) -> None:
    drawn = full.type("diagram", *arguments)

    assert drawn.exit_code == code, drawn.output
    assert said in drawn.output


def test_a_map_of_no_saga_at_all_is_refused_with_the_remedy(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAGAS_DEFINITIONS", raising=False)
    drawn = terminal.type("diagram", "--map")
    assert (drawn.exit_code, drawn.stdout) == (1, "")
    assert "no saga is loaded; name its module with --module, SAGAS_DEFINITIONS" in drawn.stderr


def test_only_comparing_and_accepting_what_differs_are_two_wishes(terminal: Terminal) -> None:
    asked = terminal.type("replay", "services.projector.projection", "--check", "--accept")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "--check swaps nothing in, --accept does" in asked.stderr


@pytest.mark.parametrize("command", ["check", "run", "conformance", "replay"])
def test_what_ctrl_c_ends_has_its_exit_code(terminal: Terminal, tmp_path: Path, command: str) -> None:
    (tmp_path / "long.py").write_text("raise KeyboardInterrupt\n")

    result = terminal.type(command, str(tmp_path / "long.py"))

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")
