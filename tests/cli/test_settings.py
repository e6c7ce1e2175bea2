"""Settings say what is wrong with a value, and never show a password."""

from pathlib import Path

import pytest

from sagas.config import Settings, masked
from sagas.errors import SettingsError

CANARY = "canary-7319"


@pytest.mark.parametrize(
    "text",
    [
        f"iggy://iggy:{CANARY}@127.0.0.1:8090",
        f"iggy://iggy:p@ss/{CANARY}@127.0.0.1:8090?nodelay=true",
        f"iggy+tcp://{CANARY}@127.0.0.1:8090",
        f"http://iggy:{CANARY}@host:1",
    ],
)
def test_a_connection_string_is_shown_without_any_part_of_its_credentials(text: str) -> None:
    assert CANARY not in masked(text)
    assert "127.0.0.1:8090" in masked(text) or "host:1" in masked(text)
    try:
        shown = repr(Settings.from_environ({"IGGY_CONNECTION_STRING": text}))
    except SettingsError as error:
        shown = str(error)
    assert CANARY not in shown


def test_what_is_not_set_has_its_default() -> None:
    settings = Settings.from_environ({}, stream="shop")
    assert (settings.stream, settings.partitions, settings.data_dir) == ("shop", 3, Path(".sagas"))
    assert settings.database("orchestrator") == Path(".sagas/orchestrator.db")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IGGY_PARTITIONS", "0"),
        ("IGGY_PARTITIONS", "three"),
        ("IGGY_PARTITIONS", "1001"),
        ("SAGAS_EVENT_STORE", "yes"),
        ("IGGY_CONNECTION_STRING", "localhost:8090"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name_and_what_was_expected(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}=.*expected"):
        Settings.from_environ({name: value})


@pytest.mark.parametrize(
    "text", [f"iggy:/iggy:{CANARY}@host:1", f"iggy://iggy:{CANARY}", f"{CANARY}", f"iggy:{CANARY}@h:1"]
)
def test_a_connection_string_that_is_written_wrong_is_shown_without_its_credentials_too(text: str) -> None:
    assert CANARY not in masked(text)
