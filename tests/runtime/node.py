"""An orchestrator on a database, given its messages one by one: for tests of several versions on one database."""

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import Operate
from sagas.core.envelope import Header
from sagas.core.ids import derived_id
from sagas.core.instance import Instance
from sagas.ports import Incoming
from sagas.runtime.admission import admit
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore

NOW_MS = 1_700_000_000_000


class Node:
    """An orchestrator that was let in; each message is a batch of its own, a second after the one before."""

    def __init__(self, store: SqliteStore, *definitions: Definition, may_strand: bool = False) -> None:
        admit(definitions, store, NOW_MS, may_strand=may_strand)
        self._store = store
        self._orchestrator = Orchestrator(definitions, store, store)
        self.now_ms = NOW_MS

    @property
    def definitions(self) -> list[Definition]:
        """What is loaded."""
        return self._orchestrator.catalog.definitions

    def start(self, key: str) -> Instance:
        self._take(key, "begun", f"start {key}", {}, "shop")
        return self.instance(key)

    def reply(self, key: str, step: str, tag: str, operation: str = "do") -> Instance:
        headers = {Header.INSTANCE: self.instance(key).id, Header.STEP: step, Header.OPERATION: operation}
        self._take(key, tag, f"{step} {operation} {tag}", headers, self._topic_of(step))
        return self.instance(key)

    def signal(self, key: str, tag: str, topic: str) -> Instance:
        self._take(key, tag, f"signal {tag}", {}, topic)
        return self.instance(key)

    def fire(self) -> None:
        self.now_ms += 3_600_000
        self._orchestrator.fire(self.now_ms, self.now_ms)

    def operate(self, key: str, action: str, revision: int) -> object:
        message = msgspec.convert(
            {"type": "operate", "action": action, "who": "ann", "reason": "", "revision": revision}, Operate
        )
        return self._orchestrator.operate(self.instance(key).id, message, self.now_ms)

    def instance(self, key: str) -> Instance:
        found = self._store.instance("tale", key)
        assert found is not None
        return found

    def _topic_of(self, step: str) -> str:
        names = [(d, d.renames.get(step, step)) for d in self.definitions]
        return next(d.steps[name].to.events for d, name in names if name in d.steps)

    def _take(self, key: str, tag: str, what: str, headers: dict[str, str], topic: str) -> None:
        self.now_ms += 1_000
        message_id = derived_id("0193a5b0-0000-7000-8000-000000000001", key, what)
        payload = (
            f'{{"id":"{message_id}","k":"{key}","event_type":"{tag}","timestamp":"2025-12-01T10:00:00Z","data":{{}}}}'
        ).encode()
        incoming = Incoming(
            id=message_id, topic=topic, partition=0, offset=0, timestamp_ms=NOW_MS, payload=payload, headers=headers
        )
        self._orchestrator.process([incoming], self.now_ms)
