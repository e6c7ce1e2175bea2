"""The processes of a simulated world, as programs on databases: the orchestrator's and each participant's."""

from sagas.ports import Outbox
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.participant import Service
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.worker import Work
from sagas.store.participant import SqliteParticipantStore
from sagas.testing.simulation.databases import (
    new_database,
    new_participant_database,
    open_participant_store,
    open_store,
)
from sagas.testing.simulation.life import Life, LifeProcesses
from sagas.testing.simulation.node import Closing, Program
from sagas.testing.simulation.participant_stores import WatchedParticipantStore
from sagas.testing.simulation.stores import WatchedStore
from sagas.testing.simulation.subject import Subject

LEASE_MS = 3_000
"""How long an orchestrator that is not heard of keeps the others waiting: a tenth of production's."""

ORCHESTRATOR = "orchestrator"


class Programs:
    """The databases of a world, and the programs that run on them, by name.

    `store` and `stores` are for looking at the databases from outside: no process of the world uses them.
    """

    def __init__(self, subject: Subject, partitions: int) -> None:
        self._definitions = list(subject.definitions)
        self._databases = {
            ORCHESTRATOR: new_database(),
            **{s.participant.name: new_participant_database(m) for s, m in subject.services.items()},
        }
        self._migrations = {s.participant.name: m for s, m in subject.services.items()}
        self.store = open_store(self._databases[ORCHESTRATOR], LEASE_MS)
        self.stores: dict[str, SqliteParticipantStore] = {
            service.participant.name: open_participant_store(self._databases[service.participant.name], migrations)
            for service, migrations in subject.services.items()
        }
        orchestrator = Orchestrator(self._definitions, self.store)
        specs = orchestrator.topic_specs(partitions)
        self.all = {ORCHESTRATOR: Program(ORCHESTRATOR, "orchestrator", specs, orchestrator.topics, self._orchestrate)}
        for service in subject.services:
            self.all[service.participant.name] = self._service_program(service, partitions)

    @property
    def topics_read(self) -> list[str]:
        """Every topic that somebody reads."""
        return sorted({topic for program in self.all.values() for topic in program.reads})

    def close(self) -> None:
        """Give up the databases."""
        for database in self._databases.values():
            database.discard()

    def _orchestrate(self, life: Life) -> tuple[Work, Outbox, Closing]:
        inner = open_store(self._databases[ORCHESTRATOR], LEASE_MS, LifeProcesses(life))
        store = WatchedStore(life, inner)
        orchestrator = Orchestrator(self._definitions, store, part_max=life.scene.faults.part_max)
        return OrchestratorWork(orchestrator, store), store, inner.close

    def _service_program(self, service: Service, partitions: int) -> Program:
        participant = service.participant
        database, migrations = self._databases[participant.name], self._migrations[participant.name]

        def make_service(life: Life) -> tuple[Work, Outbox, Closing]:
            inner = open_participant_store(database, migrations)
            store = WatchedParticipantStore(life, inner)
            return ServiceWork(service, store), store, inner.close

        specs = service.topic_specs(partitions)
        return Program(participant.name, "participant", specs, [participant.commands], make_service)
