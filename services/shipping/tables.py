"""The parcels. One that was sent cannot be called back, so there is only one state."""

from sagas.ports import Migration, Sql


def _create(sql: Sql) -> None:
    sql.execute(
        "CREATE TABLE shipments ("
        " order_id TEXT NOT NULL PRIMARY KEY,"
        " tracking TEXT NOT NULL UNIQUE,"
        " address TEXT NOT NULL,"
        " state TEXT NOT NULL CHECK (state = 'sent')"
        ") STRICT, WITHOUT ROWID"
    )


MIGRATIONS: tuple[Migration, ...] = (("001-shipments", _create),)


def send(sql: Sql, order_id: str, tracking: str, address: str) -> None:
    """A parcel on its way."""
    sql.execute(
        "INSERT INTO shipments (order_id, tracking, address, state) VALUES (?, ?, ?, 'sent')",
        (order_id, tracking, address),
    )
