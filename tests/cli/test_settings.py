"""Settings say what is wrong with a value, and never show a password."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from sagas.broker import iggy, iggy_sender
from sagas.cli.main import cli
from sagas.cli.run import ARGUMENTS, NOT_OURS
from sagas.cli.settings_page import page
from sagas.config import Secret, Settings, masked
from sagas.config_layers import read_settings
from sagas.config_table import Setting, table
from sagas.core.starting import started_on
from sagas.errors import SettingsError
from sagas.runtime import relay, worker
from sagas.store import members
from services.orders.saga import order_saga
from tests.rules.source import ROOT

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


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"SAGAS_RUNS_DAYS": "3"}, "SAGAS_RUNS_DAYS=3: a topic keeps messages for 7 days"),
        ({"SAGAS_BARRIER_DAYS": "5"}, "SAGAS_BARRIER_DAYS=5: a command can come again for SAGAS_INBOX_DAYS=30 days"),
        ({"SAGAS_INBOX_DAYS": "31"}, "SAGAS_BARRIER_DAYS=30: a command can come again for SAGAS_INBOX_DAYS=31 days"),
    ],
)
def test_values_that_do_not_go_together_are_refused_where_they_are_read(environ: Mapping[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_settings(environ)
    shown = CliRunner().invoke(cli, ["config"], env=environ)
    assert shown.exit_code != 0
    assert said in " ".join(shown.output.split())


def test_days_that_go_together_are_taken() -> None:
    environ = {"SAGAS_RUNS_DAYS": "8", "SAGAS_BARRIER_DAYS": "0", "SAGAS_INBOX_DAYS": "31"}
    settings = read_settings(environ).settings
    assert (settings.runs_days, settings.barrier_days, settings.inbox_days) == (8, 0, 31)


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


# --------------------------------------------------------------------------- the layers


def project(folder: Path, text: str) -> Path:
    """A folder with a project that says this."""
    (folder / "pyproject.toml").write_text(f"[tool.sagas]\n{text}\n", encoding="utf-8")
    return folder


def test_each_layer_wins_over_those_before_it_and_says_so(tmp_path: Path) -> None:
    folder = project(tmp_path, 'stream = "from-project"\npartitions = 5\npoll_max_count = 7\ndata_dir = "here"')
    environ = {"IGGY_PARTITIONS": "6", "POLL_MAX_COUNT": "8", "RATE_LIMIT_RPS": ""}

    reading = read_settings(environ, folder=folder, options={"poll_max_count": "9", "topic": None}, stream="shop")

    settings, origins = reading.settings, {key: str(origin) for key, origin in reading.origins.items()}
    assert (settings.stream, settings.partitions, settings.poll_max_count) == ("from-project", 6, 9)
    assert settings.rate_limit_rps == Settings().rate_limit_rps
    assert origins["stream"] == f"project {folder / 'pyproject.toml'}"
    assert origins["partitions"] == "environment IGGY_PARTITIONS"
    assert origins["poll_max_count"] == "command line --poll-max-count"
    assert origins["rate_limit_rps"] == origins["topic"] == "default"


def test_a_folder_in_the_project_is_meant_as_seen_from_its_file(tmp_path: Path) -> None:
    inner = project(tmp_path, 'data_dir = "data"') / "inner"
    inner.mkdir()

    assert read_settings({}, folder=inner).settings.data_dir == tmp_path / "data"


def test_a_value_that_another_layer_wins_over_is_checked_all_the_same(tmp_path: Path) -> None:
    folder = project(tmp_path, "partitions = 5000")

    with pytest.raises(
        SettingsError, match=r"pyproject\.toml: \[tool\.sagas\] partitions='5000': expected a whole number"
    ):
        read_settings({"IGGY_PARTITIONS": "3"}, folder=folder)


@pytest.mark.parametrize(
    "said", ['partitions = "3"', "stream = 3", "definitions = 'a.b'", "partitions = true", "stream = ''"]
)
def test_the_project_says_values_of_the_right_type(tmp_path: Path, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"{said.partition(' ')[0]}=.*expected"):
        read_settings({}, folder=project(tmp_path, said))


@pytest.mark.parametrize("row", table(), ids=lambda row: row.variable)
def test_every_setting_refuses_nonsense_with_its_name_the_value_and_what_was_expected(row: Setting) -> None:
    name, nonsense = row.variable, " "
    if row.is_list or name == "SAGAS_DATA":
        nonsense = "a\0b"
    with pytest.raises(SettingsError, match=rf"{name}(='.*': expected .*(default)| has a control character)"):
        read_settings({name: nonsense})


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SAGAS_DTA", "SAGAS_DATA"),
        ("SAGAS_ANYTHING", ""),
        ("IGGY_PARTITION", "IGGY_PARTITIONS"),
        ("IGGY_CONNECTION_STRIGN", "IGGY_CONNECTION_STRING"),
        ("IGGY_CONNECTION_STRING_FILES", "IGGY_CONNECTION_STRING_FILE"),
        ("RATE_LIMIT_RSP", "RATE_LIMIT_RPS"),
        ("BATCH_MAXSIZE", "BATCH_MAX_SIZE"),
        ("POLL_MAX_COUNTS", "POLL_MAX_COUNT"),
    ],
)
def test_a_name_of_ours_that_is_written_wrong_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}: there is no such setting.*{meant}"):
        read_settings({name: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "IGGY_HTTP_ADDRESS",
        "IGGY_TCP_ADDRESS",
        "IGGY_ROOT_USERNAME",
        "IGGY_ROOT_PASSWORD",
        "IGGY_SYSTEM_PATH",
        "IGGY_USERNAME",
        "IGGY_SYSTEM_PARTITION_SIZE",
        "RATE_LIMIT_WINDOW_SECONDS",
        "BATCH_JOB_ID",
        "POLL_INTERVAL",
        "PATH",
        "sagas_data",
        "MY_SAGAS_DATA",
    ],
)
def test_the_environment_of_others_is_left_alone(name: str) -> None:
    assert read_settings({name: "1"}).settings == Settings()


def test_an_unknown_key_and_an_unknown_table_of_the_project_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[tool\.sagas\] partition: .*did you mean partitions\?"):
        read_settings({}, folder=project(tmp_path, "partition = 3"))
    (tmp_path / "pyproject.toml").write_text("[tool]\nsagas = 3\n")
    with pytest.raises(SettingsError, match="is no table"):
        read_settings({}, folder=tmp_path)


# --------------------------------------------------------------------------- secrets in files


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_can_be_in_a_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "connection"
    path.write_bytes(f"iggy://shop:{CANARY}@broker:8090{ending}".encode())

    reading = read_settings({"IGGY_CONNECTION_STRING_FILE": str(path)})
    typed = read_settings({"IGGY_CONNECTION_STRING": "iggy://a:b@c:1"}, options={"connection_string": str(path)})

    assert reading.settings.connection_string.reveal() == f"iggy://shop:{CANARY}@broker:8090"
    assert typed.settings == reading.settings
    assert str(reading.origins["connection_string"]) == f"file {path}"
    assert str(typed.origins["connection_string"]) == "command line --connection-string-file"


@pytest.mark.parametrize("content", [b"", b"\n", CANARY.encode(), f"iggy://a:{CANARY}@c:1\nmore\n".encode(), b"\xff"])
def test_a_file_without_a_secret_in_one_line_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "connection"
    path.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        read_settings({"IGGY_CONNECTION_STRING_FILE": str(path)})
    with pytest.raises(SettingsError) as typed:
        read_settings({}, options={"connection_string": str(path)})

    assert CANARY not in f"{caught.value} {typed.value}"
    assert f"IGGY_CONNECTION_STRING_FILE={str(path)!r}" in str(caught.value)
    assert f"--connection-string-file={str(path)!r}" in str(typed.value)


def test_a_secret_has_one_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both set"):
        read_settings({"IGGY_CONNECTION_STRING": "iggy://a:b@c:1", "IGGY_CONNECTION_STRING_FILE": "x"})
    with pytest.raises(SettingsError, match=r"IGGY_CONNECTION_STRING_FILE='.*none': No such file"):
        read_settings({"IGGY_CONNECTION_STRING_FILE": str(tmp_path / "none")})
    with pytest.raises(SettingsError, match="a file that is committed") as caught:
        read_settings({}, folder=project(tmp_path, f'connection_string = "iggy://a:{CANARY}@c:1"'))
    assert CANARY not in str(caught.value)


def test_a_secret_is_masked_however_it_is_printed() -> None:
    secret = Secret(f"iggy://a:{CANARY}@c:1")

    printed = (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, "{}".format(secret), [secret])  # noqa: UP031, UP032

    assert CANARY not in repr(printed)
    assert CANARY not in repr(Settings(connection_string=secret))
    assert CANARY not in repr(Settings(connection_string=secret.reveal()))  # type: ignore[arg-type]  # as a careless caller may


# --------------------------------------------------------------------------- what is shown


def typed(*arguments: str, environ: Mapping[str, str]) -> str:
    """What `sagas config` prints."""
    result = CliRunner(env=dict(environ)).invoke(cli, ["config", *arguments], prog_name="sagas")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_config_shows_every_setting_and_where_it_comes_from_without_secrets() -> None:
    environ = {"IGGY_CONNECTION_STRING": f"iggy://a:{CANARY}@c:1", "IGGY_TOPIC": "starts"}

    said = typed("--origin", "--poll-max-count", "17", environ=environ)
    shown = {row["name"]: row for row in json.loads(typed("--json", environ=environ))["settings"]}

    assert CANARY not in said + str(shown)
    for row in table():
        assert row.variable in said
    assert "environment IGGY_TOPIC" in said
    assert "command line --poll-max-count" in said
    assert shown["IGGY_CONNECTION_STRING"]["value"] == "iggy://***@c:1"
    assert (shown["IGGY_TOPIC"]["value"], shown["IGGY_TOPIC"]["layer"]) == ("starts", "environment")
    assert list(shown) == [row.variable for row in table()]


def test_the_page_of_settings_is_made_from_the_table() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), "run `make pages`"


def test_every_option_that_the_page_names_is_one_of_run() -> None:
    typed = CliRunner().invoke(cli, ["run", "--help"], prog_name="sagas", terminal_width=200)
    named = set(re.findall(r"On\s+the\s+command\s+line\s+`(--[a-z-]+)`", page()))

    assert named
    assert [option for option in named if option not in typed.stdout] == []
    assert {row.option for row in table() if row.key not in (ARGUMENTS, *NOT_OURS)} == named


def test_a_list_that_the_project_says_as_text_is_refused_with_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"definitions='a\.b': expected modules.*in pyproject\.toml a list of them"):
        read_settings({}, folder=project(tmp_path, "definitions = 'a.b'"))


def test_the_defaults_of_the_table_are_those_of_the_engine() -> None:
    settings = Settings()

    assert settings.poll_max_count == worker.BATCH_MAX
    assert settings.outbox_batch == relay.BATCH_MAX
    assert settings.outbox_interval_ms == relay.INTERVAL_MS
    assert settings.batch_max_size == iggy_sender.SEND_COUNT_MAX
    assert settings.broker_timeout_ms == iggy.CALL_TIMEOUT_S * 1000
    assert settings.lease_ms == members.LEASE_MS


def test_another_start_topic_is_read_besides_those_of_replies() -> None:
    (moved,) = started_on([order_saga.definition], "starts")

    assert moved.start.topic == "starts"
    assert set(moved.topics) >= {"starts", "orders", "inventory", "payments", "shipping"}
    assert started_on([order_saga.definition], "") == [order_saga.definition]
