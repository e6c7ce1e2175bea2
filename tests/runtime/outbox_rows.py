"""Commands in an outbox that can be told apart: what the tests of the relay share."""

from sagas.ports import Changes, OutboxRow
from sagas.store.sqlite import SqliteStore

TOPIC = "hotel-commands"


def commit(store: SqliteStore, *names: str) -> None:
    """Commit a command of each name, all of one key."""
    rows = [
        OutboxRow(
            id=f"00000000-0000-7000-8000-{int.from_bytes(name.encode()[-4:]):012}",
            event_type=name,
            payload=name.encode(),
            created_at=1,
            aggregate_type="trip",
            aggregate_id="t-1",
            topic=TOPIC,
            key="t-1",
        )
        for name in names
    ]
    with store.transaction() as transaction:
        transaction.write(Changes(now_ms=1, outbox=rows))
