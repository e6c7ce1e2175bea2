"""What the checks look at: the databases, the topics and the record of a run that has come to rest."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import Input
from sagas.core.instance import Instance
from sagas.ports import InstanceFilter, JournalRow, ParticipantStore, Store
from sagas.runtime.verification import decided_again
from sagas.testing.simulation.faults import Faults
from sagas.testing.simulation.history import Appended, History
from sagas.testing.simulation.subject import Subject

_inputs: msgspec.msgpack.Decoder[Input] = msgspec.msgpack.Decoder(Input)


@dataclass(kw_only=True)
class Evidence:
    """Everything there is to look at after a run."""

    subject: Subject
    faults: Faults
    timers: bool
    problem: str
    """Why it did not come to rest, "" when it did."""
    starts: Mapping[tuple[str, str], str]
    """(saga, key) of every start that was acknowledged → its message's id."""
    history: History
    store: Store
    stores: Mapping[str, ParticipantStore]
    poison: Set[str] = frozenset()
    """Ids of messages that cannot be read: they alone may be dead letters."""
    signals: Mapping[tuple[str, str, str], Sequence[str]] = field(
        default_factory=dict[tuple[str, str, str], Sequence[str]]
    )
    """The ids of the signals that clients sent, by topic, event type and business key."""
    unknown_points: Sequence[str] = ()

    @cached_property
    def instances(self) -> list[Instance]:
        """Every instance, newest first."""
        return self.store.instances(InstanceFilter(count_max=10_000))

    @cached_property
    def journals(self) -> dict[str, list[JournalRow]]:
        """The journal of each instance."""
        return {instance.id: self.store.journal(instance.id) for instance in self.instances}

    @cached_property
    def by_id(self) -> dict[str, Instance]:
        """Every instance by its id."""
        return {instance.id: instance for instance in self.instances}

    def definition_of(self, instance: Instance) -> Definition:
        """The saga of an instance."""
        return next(d for d in self.subject.definitions if (d.name, d.version) == (instance.saga, instance.version))

    def replayed(self, instance: Instance) -> Iterator[tuple[JournalRow, Input, Instance | None, Instance | None]]:
        """Each journal row with its input, and the instance before and after it, as `decide` makes it again."""
        state: Instance | None = None
        for row in self.journals[instance.id]:
            message = _inputs.decode(row.input)
            before, state = state, decided_again(self.definition_of(instance), state, message, row).instance
            yield row, message, before, state

    @cached_property
    def first_there(self) -> dict[str, Appended]:
        """Each message by its id, as it first came into a topic."""
        found: dict[str, Appended] = {}
        for appended in self.history.appended:
            if not appended.is_lost:
                found.setdefault(appended.message.id, appended)
        return found
