"""What people did with instances: rows that are added and never changed (a trigger refuses it)."""

from collections.abc import Sequence

from sagas.ports import AuditRow
from sagas.store.database import Database
from sagas.store.encoding import pack_id, unpack_id

_INSERT = """
    INSERT INTO audit (at_ms, instance_id, revision, who, action, reason, path) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def add(database: Database, rows: Sequence[AuditRow]) -> None:
    """Note actions, inside the transaction that carries them out."""
    database.insert_many(
        _INSERT,
        [
            (row.at_ms, pack_id(row.instance_id), row.revision, row.who, row.action, row.reason, " ".join(row.path))
            for row in rows
        ],
    )


def of_instance(database: Database, instance_id: str) -> list[AuditRow]:
    """What people did with an instance, oldest first."""
    return [
        AuditRow(
            at_ms=row["at_ms"],
            instance_id=unpack_id(row["instance_id"]),
            revision=row["revision"],
            who=row["who"],
            action=row["action"],
            reason=row["reason"],
            path=tuple(row["path"].split()),
        )
        for row in database.records("audit", "instance_id = ?", [pack_id(instance_id)], order_by="id")
    ]
