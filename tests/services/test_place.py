"""Where the processes meet: what was said of it counts, in the environment as in the project."""

from collections.abc import Mapping
from pathlib import Path
from shlex import split

import pytest

from services.contracts import STREAM
from services.place import EVENT_STORE, place_of
from services.up import introduction, storefront_address

SAID = '[tool.sagas]\nstorefront_address = "127.0.0.1:9123"\nevent_store = {}\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `pyproject.toml` in the working folder, to be written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pyproject.toml"


def started_with(environ: Mapping[str, str], *, event_store: bool) -> tuple[str, str]:
    """Where the storefront is started, and what the processes are told of the event store."""
    place = place_of(environ, Path("data"), stream=STREAM)
    return storefront_address(place), place.environ(environ, event_store=event_store)[EVENT_STORE]


@pytest.mark.parametrize("said", ["true", "false"])
def test_what_the_project_says_counts_in_everything_that_is_started(project: Path, said: str) -> None:
    project.write_text(SAID.format(said), encoding="utf-8")
    assert started_with({}, event_store=said == "false") == ("127.0.0.1:9123", said)


def test_the_environment_wins_over_the_project(project: Path) -> None:
    project.write_text(SAID.format("true"), encoding="utf-8")
    environ = {"SAGAS_STOREFRONT_ADDRESS": "127.0.0.1:9124", EVENT_STORE: "false"}
    assert started_with(environ, event_store=True) == ("127.0.0.1:9124", "false")


@pytest.mark.parametrize("said", ["", "[tool.sagas]\npartitions = 1\n"])
def test_where_nobody_says_anything_the_event_store_is_as_the_program_has_it(project: Path, said: str) -> None:
    project.write_text(said, encoding="utf-8")
    address, event_store = started_with({}, event_store=True)
    assert (address.startswith("127.0.0.1:"), event_store) == (True, "true")
    assert started_with({}, event_store=False)[1] == "false"


def test_port_0_is_a_free_one_that_everybody_is_told(project: Path) -> None:
    environ = {"SAGAS_BROKER_ADDRESS": "127.0.0.1:0", "SAGAS_STOREFRONT_ADDRESS": "127.0.0.1:0"}
    place = place_of(environ, project.parent, stream=STREAM)
    ports = [int(address.removeprefix("127.0.0.1:")) for address in (place.address, storefront_address(place))]
    assert all(1 <= port <= 65_535 for port in ports)
    assert place.settings.connection_string.reveal().endswith(f"@{place.address}")


def test_a_command_to_paste_names_a_folder_with_a_space_as_one_word(project: Path) -> None:
    folder = project.parent / "my data"
    place = place_of({"SAGAS_DATA": str(folder)}, folder, stream=STREAM)
    said = introduction(place, "127.0.0.1:8000")
    (shown,) = [line for line in said.splitlines() if " show o-1" in line]
    assert split(shown)[-2:] == ["--db", str(folder / "orchestrator.db")]
