"""Settings: what an operator may say about where things are.

Only entry points call `Settings.from_environ`; everything else is handed what it needs. A value that
cannot be right is refused with its name, the value, what was expected and the remedy. The connection
string holds a password: it is never printed, `Settings` shows it masked.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sagas.errors import SettingsError

CONNECTION_STRING_DEFAULT = "iggy://iggy:iggy@127.0.0.1:8090"
PARTITIONS_MAX = 1000

_NUMBER = re.compile(r"\A[0-9]{1,6}\Z")  # int() refuses thousands of digits with an error of its own
_VARIABLES = ("IGGY_CONNECTION_STRING", "IGGY_STREAM", "IGGY_PARTITIONS", "SAGAS_DATA", "SAGAS_EVENT_STORE")

_SCHEME = re.compile(r"\A[a-z+]{1,20}://")


def masked(connection_string: str) -> str:
    """A connection string without its credentials, fit to be shown."""
    scheme = _SCHEME.match(connection_string)
    # Up to the last @, as the client reads it: a password may hold an @ or a / itself. Without one there
    # is no telling what is a secret: a string that lacks a slash or the @ is written wrong, password and all.
    _, at, address = connection_string.rpartition("@")
    return f"{scheme[0] if scheme else ''}***{at}{address if at else ''}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker and the files are.

    `connection_string`: IGGY_CONNECTION_STRING. `stream`: IGGY_STREAM. `partitions`: IGGY_PARTITIONS, of
    topics that are created. `data_dir`: SAGAS_DATA, the folder of all database files. `event_store`:
    SAGAS_EVENT_STORE, whether the orchestrator publishes its journal to the topic `event-store`.
    """

    connection_string: str = CONNECTION_STRING_DEFAULT
    stream: str = "sagas"
    partitions: int = 3
    data_dir: Path = Path(".sagas")
    event_store: bool = False

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, stream: str = "sagas", event_store: bool = False
    ) -> "Settings":
        """The settings that `environ` says; `stream` and `event_store` are what holds where it says nothing of them.

        Raises SettingsError.
        """
        _refuse_controls(environ)
        partitions = environ.get("IGGY_PARTITIONS", "3")
        if not _NUMBER.match(partitions) or not 1 <= int(partitions) <= PARTITIONS_MAX:
            raise SettingsError(
                f"IGGY_PARTITIONS={partitions[:40]!r}: expected a whole number from 1 to {PARTITIONS_MAX}; "
                "the default is 3"
            )
        connection_string = environ.get("IGGY_CONNECTION_STRING") or CONNECTION_STRING_DEFAULT
        if not connection_string.startswith(("iggy://", "iggy+tcp://")):
            raise SettingsError(
                f"IGGY_CONNECTION_STRING={masked(connection_string)!r}: expected iggy://user:password@host:port"
            )
        return cls(
            connection_string=connection_string,
            stream=environ.get("IGGY_STREAM") or stream,
            partitions=int(partitions),
            data_dir=Path(environ.get("SAGAS_DATA") or ".sagas"),
            event_store=_switch(environ, "SAGAS_EVENT_STORE", default=event_store),
        )

    def database(self, name: str) -> Path:
        """The database file of the process `name`."""
        return self.data_dir / f"{name}.db"

    def __repr__(self) -> str:
        return (
            f"Settings(connection_string={masked(self.connection_string)!r}, stream={self.stream!r}, "
            f"partitions={self.partitions}, data_dir={str(self.data_dir)!r}, event_store={self.event_store})"
        )


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    said = environ.get(name) or ("true" if default else "false")
    if said not in ("true", "false"):
        raise SettingsError(f"{name}={said[:40]!r}: expected true or false; the default is {str(default).lower()}")
    return said == "true"


def _refuse_controls(environ: Mapping[str, str]) -> None:
    # A line break in a name comes from a file that was pasted whole, and goes on into logs and file names.
    for name in _VARIABLES:
        if any(ord(character) < 32 or ord(character) == 127 for character in environ.get(name, "")):
            raise SettingsError(f"{name} has a control character in it, such as a line break; write it in one line")
