"""What is put under simulation: sagas, their participants, what is asked of them, and what must hold afterwards."""

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from sagas.core.definition import Definition, WaitSpec
from sagas.core.instance import Instance
from sagas.core.messages import Event
from sagas.errors import SettingsError
from sagas.ports import Migration, ParticipantStore
from sagas.runtime.participant import Service
from sagas.testing.fitting import require_handlers


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What there is when all has come to rest: every instance, and the participants' databases by name."""

    instances: Sequence[Instance]
    stores: Mapping[str, ParticipantStore]


Outside = Callable[[Mapping[str, ParticipantStore], Random, int, bool], None]
"""Called now and then with the databases, chance, the time in ms, and whether the faults are over: what reaches a
participant from elsewhere, such as a bank's answer that `Service.settle` passes on."""


def _nothing(aftermath: Aftermath) -> Iterable[str]:
    return ()


def _nobody(seed: int, starts: Sequence[Event]) -> Sequence[Event]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Bring one of these to simulate your own sagas.

    `workload` makes the events that start sagas from a seed, and `signals` those that their waits take, from the seed
    and the starts: each comes early, late, twice or never, as the seed draws it. `check` says what is wrong when all
    has come to rest: it is for your own tables, such as money and stock; the engine's promises are checked anyway.
    `stories` are what the crash sweep goes through, each by a name; without any it takes the workload of one seed.
    """

    name: str
    definitions: Sequence[Definition]
    services: Mapping[Service, Sequence[Migration]]
    workload: Callable[[int], Sequence[Event]]
    signals: Callable[[int, Sequence[Event]], Sequence[Event]] = _nobody
    check: Callable[[Aftermath], Iterable[str]] = _nothing
    outside: Outside | None = None
    stories: Mapping[str, Sequence[Event]] = field(default_factory=dict[str, Sequence[Event]])
    not_reached: Collection[str] = ()
    """Crash points that these sagas have no use for, such as "participant store.amend.before"."""

    def __post_init__(self) -> None:
        """Refuse a participant that could not carry out what these sagas ask of it. Raises HandlerError."""
        require_handlers(self.definitions, self.services)

    def definition_of(self, event: Event) -> Definition:
        """The saga that `event` starts."""
        for definition in self.definitions:
            if definition.start.event_type is type(event):
                return definition
        raise SettingsError(f"subject {self.name!r}: no saga is started by {type(event).__name__}")

    def wait_for(self, signal: Event) -> tuple[Definition, WaitSpec]:
        """The wait that takes `signal`, and its saga."""
        for definition in self.definitions:
            for wait in definition.waits.values():
                if type(signal) in wait.signals.values():
                    return definition, wait
        raise SettingsError(f"subject {self.name!r}: no saga waits for {type(signal).__name__}")


def load_subject(path: str) -> Subject:
    """The subject at "module:name", which may be a function that makes it. Raises SettingsError."""
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name or "subject")
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"no subject at {path!r} ({error}); write it as package.module:name") from error
    subject = found if isinstance(found, Subject) else found()
    if not isinstance(subject, Subject):
        raise SettingsError(f"{path!r} is a {type(subject).__name__}, not a Subject or a function that makes one")
    return subject
