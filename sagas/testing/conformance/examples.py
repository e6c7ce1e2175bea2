"""What a conformance run needs to be told of a participant: commands to attack it with."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

from sagas.core.messages import Command
from sagas.core.participants import Participant
from sagas.ports import Incoming, Migration, ParticipantStore, Sql


class Attackable(Protocol):
    """A participant as the worker's loop sees it. The kit's `Service` is one."""

    @property
    def participant(self) -> Participant:
        """Its name, its topics and its business key."""
        ...

    @property
    def command_tags(self) -> Collection[str]:
        """The commands it understands: each needs an example."""
        ...

    def process(self, batch: Sequence[Incoming], store: ParticipantStore, now_ms: int) -> None:
        """Deal with a batch of commands."""
        ...


@dataclass(frozen=True)
class Example:
    """A command that the participant carries out, and what belongs to it.

    undo      the command that undoes it, None if nothing does
    refused   a command of the same type that the participant refuses; wanted if the type declares a rejection
    mend      changes the world so that `refused` would be accepted now; None if nothing can change its mind
    given     prepares the participant's tables before each attack
    name      tells two examples of one command apart
    """

    do: Command[Any]
    _: KW_ONLY
    undo: Command[Any] | None = None
    refused: Command[Any] | None = None
    mend: Callable[[Sql], None] | None = None
    given: Callable[[Sql], None] | None = None
    name: str = ""


@dataclass(frozen=True)
class Subject:
    """A participant with its tables and its examples: what a module declares as `CONFORMANCE`."""

    service: Attackable
    migrations: Sequence[Migration]
    examples: Sequence[Example]
