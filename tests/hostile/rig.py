"""The real path of a message, from what the broker hands over to what is committed: no broker, no waiting.

An orchestrator and the inventory service, each on its own database in memory. Whatever is fed to them, the
rig can say what it came to, and that good messages after it are dealt with as if nothing had been.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Literal

from sagas.core.envelope import Header
from sagas.core.ids import instance_id, timed_id
from sagas.core.instance import Instance
from sagas.ports import DeadLetter, Incoming, InstanceFilter, OutboxRow
from sagas.runtime.dead_letters import DEAD_LETTERS
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from services.inventory.handlers import inventory
from services.inventory.tables import migrations
from services.orders.saga import order_saga

NOW_MS = 1_760_000_000_000
ON_SHELF = 1_000

HEAD = b'{"id":"m-1","order_id":"o-1","event_type":"%s","timestamp":"2025-01-01T00:00:00Z","data":'
START = HEAD % b"order.created" + b'{"items":[{"product_id":"kettle","quantity":2}],"total":"59.98"}}'
COMMAND = HEAD % b"inventory.reserve" + b'{"items":[{"product_id":"kettle","quantity":2}]}}'

Way = Literal["start", "command"]
"""To the orchestrator as an event that starts a saga, or to a participant as a command."""

Outcome = Literal["dead", "taken", "foreign"]
"""Put away with a reason; carried out; passed over as something that is none of ours."""

VALID: Mapping[Way, bytes] = {"start": START, "command": COMMAND}
TOPICS: Mapping[Way, str] = {"start": "orders", "command": "inventory-commands"}


def headers_for(key: str, step: str = "reserve", operation: str = "do") -> dict[str, str]:
    """The headers of a command, or of the answer to one."""
    instance = instance_id("order", key, NOW_MS)
    return {Header.INSTANCE: instance, Header.STEP: step, Header.OPERATION: operation, Header.ATTEMPT: "1"}


class Rig:
    """Feed it, then ask what became of it."""

    def __init__(self) -> None:
        self.store = SqliteStore(":memory:")
        self.orchestrator = Orchestrator([order_saga.definition], self.store)
        self.shelf = SqliteParticipantStore(":memory:", migrations({"kettle": ON_SHELF}))
        self._numbers = count(1)

    def feed(self, way: Way, payload: bytes, headers: Mapping[str, str] | None = None, **fields: int | str) -> Incoming:
        """Deal with one message; `fields` are those of `Incoming` that are not as usual."""
        number = next(self._numbers)
        usual: dict[str, object] = {
            "id": timed_id(NOW_MS, str(number)),
            "topic": TOPICS[way],
            "partition": 0,
            "offset": number,
            "timestamp_ms": NOW_MS,
        }
        given = headers if headers is not None else headers_for("o-1") if way == "command" else {}
        incoming = Incoming(payload=payload, headers=given, **{**usual, **fields})  # type: ignore[arg-type]  # by name
        self.deliver(way, incoming)
        return incoming

    def deliver(self, way: Way, *batch: Incoming) -> None:
        """Deal with a batch as a worker does."""
        if way == "command":
            inventory.process(batch, self.shelf, NOW_MS)
        else:
            self.orchestrator.process(batch, NOW_MS)

    def letters(self, way: Way) -> list[DeadLetter]:
        """The dead letters of the process that reads this way."""
        return (self.shelf if way == "command" else self.store).dead_letters(10_000)

    def sent(self, way: Way) -> list[OutboxRow]:
        """What that process would publish, but for what it tells the topic of dead letters."""
        rows = (self.shelf if way == "command" else self.store).unpublished(10_000)
        return [row for row in rows if row.topic != DEAD_LETTERS]

    def instances(self) -> list[Instance]:
        """All that were started."""
        return self.store.instances(InstanceFilter(count_max=10_000))

    def reserved(self) -> int:
        """How many pieces are set aside."""
        with self.shelf.transaction() as transaction:
            row = transaction.sql.execute("SELECT on_shelf FROM products WHERE product_id = 'kettle'").fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        return ON_SHELF - row[0]

    def outcome(self, way: Way) -> Outcome:
        """What one message came to. Asserts that nothing is half done."""
        letters = self.letters(way)
        told = (self.shelf if way == "command" else self.store).unpublished(10_000)
        assert len([row for row in told if row.topic == DEAD_LETTERS]) == len(letters)
        effects = self.reserved() if way == "command" else len(self.instances())
        if letters:
            assert effects == 0, "a message that was put away left something behind"
            assert len(letters) == 1
            assert 0 < len(letters[0].reason) <= 1_000
            return "dead"
        return "taken" if effects else "foreign"

    def prove_alive(self) -> None:
        """A good message each way, under a key of its own, is dealt with as ever."""
        started, reserved = len(self.instances()), self.reserved()
        self.feed("start", START.replace(b"o-1", b"alive"))
        self.feed("command", COMMAND.replace(b"o-1", b"alive"), headers_for("alive"))
        assert (len(self.instances()), self.reserved()) == (started + 1, reserved + 2)
        assert self.sent("start")[-1].event_type == "order.create"
        assert self.sent("command")[-1].event_type == "inventory.reserved"

    def close(self) -> None:
        """Give up the databases."""
        self.store.close()
        self.shelf.close()


@contextmanager
def a_rig() -> Generator[Rig, None, None]:
    """A rig for one test, which has to be alive at the end."""
    rig = Rig()
    try:
        yield rig
        rig.prove_alive()
    finally:
        rig.close()
