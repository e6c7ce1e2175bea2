"""Where the processes meet: the server, the stream and the folder, and how a person gets there."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import msgspec

from sagas.config import CONNECTION_STRING_DEFAULT, Secret, Settings, masked
from sagas.config_layers import DEFAULT, Origin, read_settings
from sagas.folders import working_folder
from sagas.ports import Outgoing
from services.contracts import STREAM
from services.processes import Program, broker_program, free_address, saga_programs, settled_address

CONNECTION = "IGGY_CONNECTION_STRING"
CONNECTION_FILE = "IGGY_CONNECTION_STRING_FILE"
ADDRESS = "SAGAS_BROKER_ADDRESS"
EVENT_STORE = "SAGAS_EVENT_STORE"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A data folder, a server and a stream. `address` is of the embedded broker, "" when the server is a real Iggy.

    `origins` say for each setting where it comes from.
    """

    settings: Settings
    address: str
    origins: Mapping[str, Origin]

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

    def says(self, key: str) -> bool:
        """Whether anybody said this setting, in the environment or in the project."""
        return self.origins[key] != DEFAULT

    def environ(self, base: Mapping[str, str], *, event_store: bool = False) -> dict[str, str]:
        """The environment of the processes; `event_store` is whether the journal goes to its topic, if nobody says."""
        event_store = self.settings.event_store if self.says("event_store") else event_store
        # A secret that came in a file stays there: it is in nobody's environment.
        connection = {} if base.get(CONNECTION_FILE) else {CONNECTION: self.settings.connection_string.reveal()}
        return {
            **base,
            **connection,
            EVENT_STORE: str(event_store).lower(),
            "IGGY_STREAM": self.settings.stream,
            "IGGY_PARTITIONS": str(self.settings.partitions),
            "SAGAS_DATA": str(self.folder),
        }


def names_a_server(environ: Mapping[str, str]) -> bool:
    """Whether `environ` says which Iggy to use, so that no embedded one is needed."""
    return bool(environ.get(CONNECTION) or environ.get(CONNECTION_FILE))


def stream_of_its_own(environ: Mapping[str, str], whose: str) -> str:
    """The stream for a demonstration: on a server that others may use as well one that nobody else has."""
    return f"{STREAM}-{whose}-{uuid4().hex[:8]}" if names_a_server(environ) else STREAM


def place_of(environ: Mapping[str, str], folder: Path, *, stream: str, always_stream: bool = False) -> Place:
    """The place in `folder`: on the server that `environ` names, or with an embedded broker on SAGAS_BROKER_ADDRESS.

    Without that on a free address, with Iggy's own port if it can be had.

    `stream` is used unless IGGY_STREAM names another, or in any case with `always_stream`. Raises SettingsError.
    """
    reading = read_settings(environ, folder=working_folder(), stream=stream)
    settings = reading.settings
    address = "" if names_a_server(environ) else _broker_address(settings)
    return Place(
        address=address,
        origins=reading.origins,
        settings=msgspec.structs.replace(
            settings,
            connection_string=Secret(embedded_connection(address)) if address else settings.connection_string,
            stream=stream if always_stream else settings.stream,
            data_dir=folder,
        ),
    )


def _broker_address(settings: Settings) -> str:
    return settled_address(settings.broker_address) if settings.broker_address else free_address()


def begun(message: Outgoing, settings: Settings) -> Outgoing:
    """`message`, which starts something, on the topic where start events are read here."""
    return msgspec.structs.replace(message, topic=settings.topic) if settings.topic else message


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
