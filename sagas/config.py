"""Settings: what an operator may say about where things are and how much of them.

Theory of operation. `Settings` is the table: one field for each setting, with its type, its bounds, its default, the
variable that names it and what it is for. All else is made from that (`config_table.py`): reading and checking
(`config_layers.py`), the options of `sagas run`, `sagas config`, and docs/settings.md. A new setting is one field
here, and `make pages`.

A value comes from, each winning over what stands before it: the default, `[tool.sagas]` of the nearest
`pyproject.toml`, the environment, the command line. Only entry points read them; everything else is handed what it
needs. A value that cannot be right is refused with its name, the value, what was expected and the remedy.

Secrets: `Secret` shows itself masked to whoever prints it. A setting that is one comes from the environment or,
better, from a file (`IGGY_CONNECTION_STRING_FILE`), and neither from `pyproject.toml`, which is committed, nor from
the command line, which every user of the machine can read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from sagas.errors import SettingsError
from sagas.records import DAY_S, TRANSIENT_S

CONNECTION_STRING_DEFAULT = "iggy://iggy:iggy@127.0.0.1:8090"
PARTITIONS_MAX = 1000
KEPT_DAYS_MAX = 36_500

_SCHEME = re.compile(r"\A[a-z+]{1,20}://")
_PORT = "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ADDRESS = rf"\A[A-Za-z0-9.-]{{1,253}}:(?:{_PORT})\Z"


def masked(connection_string: str) -> str:
    """A connection string without its credentials, fit to be shown."""
    text = connection_string.reveal() if isinstance(connection_string, Secret) else connection_string
    scheme = _SCHEME.match(text)
    # Up to the last @, as the client reads it: a password may hold an @ or a / itself. Without one there
    # is no telling what is a secret: a string that lacks a slash or the @ is written wrong, password and all.
    _, at, address = text.rpartition("@")
    return f"{scheme[0] if scheme else ''}***{at}{address if at else ''}"


class Secret(str):
    """A connection string that shows itself without its credentials, however it is printed or formatted.

    It is text to whoever takes it apart or hands it to another process; `reveal` says it in full.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The text itself, to be shown to nobody."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return repr(masked(self))

    def __str__(self) -> str:
        return masked(self)

    def __format__(self, spec: str) -> str:
        return format(masked(self), spec)


def _row(variable: str, purpose: str, expected: str = "") -> msgspec.Meta:
    """A row of the table; `expected` says in words what may be written, "" where the type says it."""
    return msgspec.Meta(extra=_extra(variable, purpose, expected))


def _number(variable: str, purpose: str, least: int, most: int) -> msgspec.Meta:
    """A row with a whole number."""
    return msgspec.Meta(ge=least, le=most, extra=_extra(variable, purpose, f"a whole number from {least} to {most}"))


def _text(variable: str, purpose: str, pattern: str, expected: str) -> msgspec.Meta:
    """A row with a text that has to match `pattern`."""
    return msgspec.Meta(pattern=pattern, extra=_extra(variable, purpose, expected))


def _extra(variable: str, purpose: str, expected: str) -> dict[str, str]:
    return {"variable": variable, "purpose": purpose, "expected": expected}


_MODULES = "modules, separated by commas; in pyproject.toml a list of them"
_HOST_AND_PORT = "host:port, such as 127.0.0.1:8000; port 0 takes a free one"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked. The fields' names are the keys of `[tool.sagas]`, and the options with - for _."""

    connection_string: Annotated[
        Secret,
        _row(
            "IGGY_CONNECTION_STRING",
            "The Iggy server, and who we are there.",
            expected="iggy://user:password@host:port[?option=value&...]",
        ),
    ] = Secret(CONNECTION_STRING_DEFAULT)
    stream: Annotated[
        str,
        _text(
            "IGGY_STREAM",
            "The stream that holds all topics.",
            pattern=r"\A\S(?:.{0,253}\S)?\Z",
            expected="a name of 1 to 255 characters",
        ),
    ] = "sagas"
    topic: Annotated[
        str,
        _text(
            "IGGY_TOPIC",
            "The topic that start events are read from and published to; when empty, each saga's own: the one of the "
            "participant in its `start(on=...)`. Replies stay where they are.",
            pattern=r"\A(?:\S(?:.{0,253}\S)?)?\Z",
            expected="a name of at most 255 characters",
        ),
    ] = ""
    partitions: Annotated[
        int, _number("IGGY_PARTITIONS", "Partitions of topics that are created.", 1, PARTITIONS_MAX)
    ] = 3
    batch_max_size: Annotated[
        int, _number("BATCH_MAX_SIZE", "Messages in one request to the broker, at most.", 1, 10_000)
    ] = 1_000
    poll_max_count: Annotated[
        int,
        _number(
            "POLL_MAX_COUNT",
            "Messages that one poll takes from the broker, at most. They are dealt with in one transaction.",
            1,
            10_000,
        ),
    ] = 1_000
    rate_limit_rps: Annotated[
        int, _number("RATE_LIMIT_RPS", "Requests a second that the storefront lets through.", 1, 1_000_000)
    ] = 100
    rate_limit_burst: Annotated[
        int, _number("RATE_LIMIT_BURST", "Requests that the storefront lets through at once.", 1, 1_000_000)
    ] = 50
    data_dir: Annotated[
        Path,
        _row(
            "SAGAS_DATA",
            "The folder of all database files, one for each process. All orchestrators of a stream need the same one: "
            "they share its messages, and with two of them an answer may come to the one that does not know its run. A "
            "relative folder is meant as seen from the working folder, or from the `pyproject.toml` that says it.",
            expected="a folder",
        ),
    ] = Path(".sagas")
    definitions: Annotated[
        tuple[str, ...],
        _row(
            "SAGAS_DEFINITIONS",
            "Modules that define sagas, each written `package.module` or `package.module:saga`.",
            expected=_MODULES,
        ),
    ] = ()
    projections: Annotated[
        tuple[str, ...],
        _row(
            "SAGAS_PROJECTIONS",
            "Modules whose read models `sagas replay` builds anew, each written `package.module`.",
            expected=_MODULES,
        ),
    ] = ()
    event_store: Annotated[
        bool,
        _row("SAGAS_EVENT_STORE", "Whether the orchestrator publishes its journal to the topic `event-store`."),
    ] = False
    broker_address: Annotated[
        str,
        _text(
            "SAGAS_BROKER_ADDRESS",
            "Where `make up` and `make demo` start the embedded broker; when empty, port 8090 of 127.0.0.1 or any that "
            "is free.",
            pattern=rf"{_ADDRESS}|\A\Z",
            expected=_HOST_AND_PORT,
        ),
    ] = ""
    storefront_address: Annotated[
        str,
        _text("SAGAS_STOREFRONT_ADDRESS", "Where the storefront listens.", pattern=_ADDRESS, expected=_HOST_AND_PORT),
    ] = "127.0.0.1:8000"
    metrics_port: Annotated[
        int,
        _number(
            "SAGAS_METRICS_PORT",
            "The port of a process's pages /metrics, /health/live and /health/ready; 0 for none. `make up` counts on "
            "from it, one for each process. Needs the extra `web`.",
            0,
            65_535,
        ),
    ] = 0
    metrics_host: Annotated[
        str,
        _text(
            "SAGAS_METRICS_HOST",
            "The address these pages are served on. They have no password: other than on loopback only where nobody "
            "else can reach them, as in a network of containers.",
            pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z",
            expected="an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0",
        ),
    ] = "127.0.0.1"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        _row("SAGAS_LOG_LEVEL", "The least important lines of the log that processes write to stderr."),
    ] = "INFO"
    lease_ms: Annotated[
        int,
        _number(
            "SAGAS_LEASE_MS",
            "Milliseconds of silence after which other orchestrators on the same database hold one for dead.",
            3_000,
            3_600_000,
        ),
    ] = 40_000
    inbox_days: Annotated[
        int,
        _number(
            "SAGAS_INBOX_DAYS",
            "Days that the ids of messages are remembered, so that none takes effect twice. No topic that is read may "
            "keep messages for longer.",
            8,
            KEPT_DAYS_MAX,
        ),
    ] = 30
    journal_days: Annotated[
        int,
        _number(
            "SAGAS_JOURNAL_DAYS", "Days that the journal of a run is kept after its end; 0: for ever.", 0, KEPT_DAYS_MAX
        ),
    ] = 90
    runs_days: Annotated[
        int,
        _number(
            "SAGAS_RUNS_DAYS",
            "Days that a run itself is kept after its end, with its journal; 0: for ever, otherwise 8 at least.",
            0,
            KEPT_DAYS_MAX,
        ),
    ] = 0
    barrier_days: Annotated[
        int,
        _number(
            "SAGAS_BARRIER_DAYS",
            "Days that a participant remembers what it did and answered; 0: for ever, otherwise no fewer than "
            "`SAGAS_INBOX_DAYS`. To undo what is older is not possible any more.",
            0,
            KEPT_DAYS_MAX,
        ),
    ] = 30
    outbox_batch: Annotated[
        int, _number("SAGAS_OUTBOX_BATCH", "Rows that the relay takes from the outbox at once.", 1, 10_000)
    ] = 1_000
    outbox_interval_ms: Annotated[
        int,
        _number(
            "SAGAS_OUTBOX_INTERVAL_MS",
            "Milliseconds between two looks at an outbox that nobody says has something new.",
            1,
            60_000,
        ),
    ] = 100
    broker_timeout_ms: Annotated[
        int,
        _number("SAGAS_BROKER_TIMEOUT_MS", "Milliseconds until a request to the broker is given up.", 600, 60_000),
    ] = 5_000

    def __post_init__(self) -> None:
        """A connection string hides itself from here on. Raises SettingsError for values that do not go together."""
        if not isinstance(cast("str", self.connection_string), Secret):
            msgspec.structs.force_setattr(self, "connection_string", Secret(self.connection_string))

        days = TRANSIENT_S // DAY_S
        if 0 < self.runs_days <= days:
            raise SettingsError(
                f"SAGAS_RUNS_DAYS={self.runs_days}: a topic keeps messages for {days} days, and an answer could still "
                f"come to a run that is gone; expected 0 (for ever) or {days + 1} at least"
            )
        if 0 < self.barrier_days < self.inbox_days:
            raise SettingsError(
                f"SAGAS_BARRIER_DAYS={self.barrier_days}: a command can come again for SAGAS_INBOX_DAYS="
                f"{self.inbox_days} days; expected 0 (for ever) or no fewer than that"
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, stream: str = "sagas") -> "Settings":
        """What `environ` alone says, `stream` being the default stream. Raises SettingsError."""
        # Imported here: the layers are read in the terms of this table.
        from sagas.config_layers import read_settings

        return read_settings(environ, stream=stream).settings

    def database(self, name: str) -> Path:
        """The database file of the process `name`."""
        return self.data_dir / f"{name}.db"
