"""Where the processes meet: the server, the stream and the folder, and how a person gets there."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sagas.config import CONNECTION_STRING_DEFAULT, Settings, masked
from services.processes import Program, broker_program, free_address, saga_programs

CONNECTION = "IGGY_CONNECTION_STRING"
ADDRESS = "SAGAS_BROKER_ADDRESS"
EVENT_STORE = "SAGAS_EVENT_STORE"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A data folder, a server and a stream. `address` is of the embedded broker, "" when the server is a real Iggy."""

    settings: Settings
    address: str

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.settings.data_dir

    @property
    def programs(self) -> tuple[Program, ...]:
        """The processes to run here."""
        embedded = (broker_program(self.address, self.folder),) if self.address else ()
        return (*embedded, *saga_programs())

    @property
    def broker_line(self) -> str:
        """What the broker is, for people."""
        if not self.address:
            return f"broker     Iggy   {masked(self.settings.connection_string)}   stream {self.settings.stream}"
        remedy = f"(a real Iggy: set {CONNECTION})"
        return f"broker     embedded, speaks Iggy's TCP protocol   {self.address}   {remedy}"

    def environ(self, base: Mapping[str, str], *, event_store: bool = False) -> dict[str, str]:
        """The environment of the processes; `event_store` is whether the journal goes to its topic, if `base` says
        nothing of it."""
        return {
            EVENT_STORE: str(event_store).lower(),
            **base,
            CONNECTION: self.settings.connection_string,
            "IGGY_STREAM": self.settings.stream,
            "IGGY_PARTITIONS": str(self.settings.partitions),
            "SAGAS_DATA": str(self.folder),
        }


def place_of(environ: Mapping[str, str], folder: Path, *, stream: str, always_stream: bool = False) -> Place:
    """The place in `folder`: on the server that `environ` names, or with an embedded broker on SAGAS_BROKER_ADDRESS.

    Without that on a free address, with Iggy's own port if it can be had.

    `stream` is used unless IGGY_STREAM names another, or in any case with `always_stream`. Raises SettingsError.
    """
    settings = Settings.from_environ(environ, stream=stream)
    address = "" if environ.get(CONNECTION) else environ.get(ADDRESS) or free_address()
    return Place(
        address=address,
        settings=Settings(
            connection_string=embedded_connection(address) if address else settings.connection_string,
            stream=stream if always_stream else settings.stream,
            partitions=settings.partitions,
            data_dir=folder,
        ),
    )


def embedded_connection(address: str) -> str:
    """The connection string of the embedded broker."""
    host = CONNECTION_STRING_DEFAULT.rpartition("@")[2]
    return CONNECTION_STRING_DEFAULT.replace(host, address)


def sagas_command() -> str:
    """How `sagas` is called from here: by its path from the current folder, or through this interpreter."""
    script = Path(sys.executable).parent / "sagas"
    if not script.exists():
        return f"{sys.executable} -m sagas"
    shorter = os.path.relpath(script)
    return str(script) if shorter.startswith("..") else shorter
