"""Canaries: a password that is planted in a connection string comes out nowhere."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from sagas.broker.connection_string import parse_connection_string
from sagas.broker.iggy import IggyBroker
from sagas.cli.main import cli
from sagas.config import Secret, Settings
from sagas.config_layers import described, read_settings
from sagas.errors import SagaError, SettingsError
from sagas.metrics.watching import Watching
from sagas.ports import Outgoing, TopicSpec
from sagas.records import Gauges

CANARY = "kanarie-5512"

CONNECTIONS = [
    f"iggy://iggy:{CANARY}@127.0.0.1:1",
    f"iggy://{CANARY}@127.0.0.1:1",
    f"iggy://iggy:{CANARY}@x@127.0.0.1:1",
    f"iggy://iggy:p@{CANARY}@127.0.0.1:1?heartbeat_interval=1s",
]
WRONG = [
    f"iggy:/iggy:{CANARY}@127.0.0.1:1",
    f"iggy://iggy:{CANARY}",
    f"iggy://iggy:{CANARY}@127.0.0.1",
    f"iggy://iggy:{CANARY}@127.0.0.1:99999",
    f"iggy://iggy:x@127.0.0.1:1?{CANARY}=1",
    f"iggy://iggy:x@127.0.0.1:1?heartbeat_interval={CANARY}",
    f"iggy://{CANARY}:@127.0.0.1:1",
    f"{CANARY}",
    f"iggy://iggy:{CANARY}\n@127.0.0.1:1",
]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def told(error: BaseException) -> str:
    """All that a traceback of it shows, its causes and the reprs of what its frames hold included."""
    assert error.__traceback__ is not None
    inside = error.__traceback__.tb_next  # the test's own frame knows the secret
    shown = traceback.TracebackException(type(error), error, inside, capture_locals=True)
    return "".join(shown.format()) + repr(error) + str(error) + repr(error.__dict__)


@pytest.mark.parametrize("text", CONNECTIONS)
def test_settings_do_not_say_it(text: str) -> None:
    reading = read_settings({"IGGY_CONNECTION_STRING": text})
    said = [
        repr(reading),
        str(reading.settings),
        repr(described(reading)),
        repr(msgspec.structs.asdict(reading.settings)),
    ]
    said += [repr(parse_connection_string(text)), str(parse_connection_string(text).credentials)]
    said += [repr(IggyBroker.from_connection_string(text, stream="s"))]

    assert CANARY in reading.settings.connection_string.reveal()
    assert CANARY not in "".join(said)
    with pytest.raises(TypeError):
        msgspec.json.encode(reading.settings)


@pytest.mark.parametrize("text", WRONG)
def test_a_connection_string_that_is_written_wrong_is_not_quoted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    refusals: list[str] = []
    for environ in ({"IGGY_CONNECTION_STRING": text}, {"IGGY_CONNECTION_STRING_FILE": str(path)}):
        try:
            IggyBroker.from_connection_string(Settings.from_environ(environ).connection_string, stream="s")
        except SettingsError as error:
            refusals.append(str(error) + repr(error))

    assert len(refusals) == 2
    assert CANARY not in "".join(refusals)


async def ensure(broker: IggyBroker) -> None:
    await broker.ensure([TopicSpec(name="t")])


async def publish(broker: IggyBroker) -> None:
    message = Outgoing(id="0199cde2-5400-7a51-8d4c-6f1f3f0a8f11", topic="t", key="k", payload=b"x")
    await broker.publish([message])


async def subscribe(broker: IggyBroker) -> object:
    return await broker.subscribe("g", ["t"])


async def lag(broker: IggyBroker) -> object:
    return await broker.lag("g", ["t"])


@pytest.mark.parametrize("text", CONNECTIONS[:2])
@pytest.mark.parametrize("call", [ensure, publish, subscribe, lag])
async def test_no_way_of_failing_to_connect_says_it(
    text: str, call: Callable[[IggyBroker], Awaitable[object]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    broker = IggyBroker.from_connection_string(Secret(text), stream="s", call_timeout_s=0.7)
    try:
        with pytest.raises(SagaError) as caught:
            await call(broker)
    finally:
        await broker.close()

    assert CANARY not in told(caught.value)
    assert CANARY not in caplog.text + "".join(repr(record.__dict__) for record in caplog.records)


def test_commands_and_metrics_do_not_say_it(tmp_path: Path) -> None:
    environ = {"IGGY_CONNECTION_STRING": CONNECTIONS[0], "SAGAS_DATA": str(tmp_path), "SAGAS_LOG_LEVEL": "DEBUG"}
    said: list[str] = []
    for arguments in (["config", "--origin"], ["config", "--json"], ["list"], ["run", "--stream", ""], ["verify"]):
        result = CliRunner(env=environ).invoke(cli, arguments, prog_name="sagas")
        said += [result.output, result.stderr, repr(result.exception)]
    nothing = Gauges(outbox_rows=0, outbox_oldest_ms=None, letters_open=0)
    with Watching("orchestrator", "127.0.0.1", 0, lambda now_ms: nothing) as watching:
        said.append(generate_latest(watching.instruments.registry).decode())

    assert CANARY not in "".join(said)
