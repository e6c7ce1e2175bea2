"""A saga after its compilation: what the kernel, the store and the drawings read.

Everything here was checked when the saga's module was imported; nothing here changes afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from transitions import Machine

from sagas.core.machine import Edge, Place, Table
from sagas.core.messages import Command, Event
from sagas.core.participants import Participant
from sagas.core.retry import Retry

StepKind = Literal["compensatable", "pivot", "retriable"]
"""Richardson's classes ("Microservices Patterns", chapter 4): can be undone · decides · cannot be refused."""

Unknown = Literal["undo", "ask", "resend", "hold"]
"""What a step does when its answer did not come in time.

undo     undo it: the participant's barrier makes that safe whether or not it happened
ask      send it again under the same id until the answer is definite
resend   the same, for steps that cannot be refused
hold     wait for a person
"""


@dataclass(frozen=True, slots=True)
class UndoSpec:
    """How a step is undone: the command, its replies by tag, and how often it is tried."""

    build: Callable[[Any], Command[Event]]
    command_type: type[Command[Any]]
    replies: Mapping[str, type[Event]]
    retry: Retry


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: its command, its replies by tag, what happens to its answer, and when it is late."""

    name: str
    kind: StepKind
    to: Participant
    build: Callable[[Any], Command[Event]]
    command_type: type[Command[Any]]
    replies: Mapping[str, type[Event]]
    fold: Callable[[Any, Any], Any]
    undo: UndoSpec | None
    timeout_ms: int
    resend_ms: int
    unknown: Unknown
    retry: Retry
    where: str
    expires: bool = False


@dataclass(frozen=True, slots=True)
class StartSpec:
    """Which event on which topic begins a run, and the data it begins with."""

    event_type: type[Event]
    topic: str
    fold: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a saga. `table` and `places` are read off `machine` and `edges` once."""

    name: str
    version: int
    key: str
    data_type: type[Any]
    start: StartSpec
    steps: Mapping[str, StepSpec]
    deadline_ms: int
    edges: tuple[Edge, ...]
    machine: Machine
    table: Table
    places: Mapping[str, Place]
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    """What earlier versions called a step → its name here."""
    content: str = ""
    """The hash of what matters to a run under way (`shape.py`)."""

    def encode_data(self, data: object) -> bytes:
        """The saga's own data as JSON."""
        return msgspec.json.encode(data)

    def decode_data(self, data: bytes) -> Any:
        """The saga's own data. Raises msgspec.ValidationError when `data` does not fit `data_type`."""
        return msgspec.json.decode(data, type=self.data_type)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that runs of this saga read, each once: its start topic and its participants' events."""
        return tuple(dict.fromkeys((self.start.topic, *(s.to.events for s in self.steps.values()))))

    @property
    def command_topics(self) -> tuple[str, ...]:
        """The topics that runs of this saga write, each once."""
        return tuple(dict.fromkeys(s.to.commands for s in self.steps.values()))
