"""`sagas restored`: what it finds, what it says and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from sagas.broker.iggy import IggyBroker
from sagas.cli.main import cli
from sagas.ports import Outgoing
from services.contracts import INVENTORY
from services.inventory.handlers import inventory
from tests.runtime.warehouse import Warehouse
from tests.wire.running import running_broker

SAY_WHY = ("--reason", "the disk was lost", "--yes")


class Shop:
    """Inventory with a broker that has its answers, and somebody who types."""

    def __init__(self, folder: Path, connection_string: str) -> None:
        self.folder = folder
        self.warehouse = Warehouse(folder)
        self.stream = folder.name
        self._connection_string = connection_string

    def publish(self) -> None:
        """Have its answers in the broker, and its commands' topic there."""
        anyio.run(self._publish)

    async def _publish(self) -> None:
        broker = IggyBroker.from_connection_string(self._connection_string, stream=self.stream)
        await broker.ensure(inventory.topic_specs(1))
        await broker.publish(
            [
                Outgoing(id=m.id, topic=m.topic, key="o", payload=m.payload, headers=m.headers)
                for m in self.warehouse.topic.messages
            ]
        )
        await broker.close()

    def type(self, *arguments: str) -> Result:
        """Run `sagas restored` with these arguments."""
        environ = {
            "SAGAS_DATA": str(self.folder),
            "SAGAS_DEFINITIONS": "services.orders.saga",
            "IGGY_CONNECTION_STRING": self._connection_string,
            "IGGY_STREAM": self.stream,
        }
        return CliRunner(env=environ).invoke(cli, ["restored", *arguments], prog_name="sagas")

    def json(self, *arguments: str) -> Any:
        """What it prints with --json."""
        return json.loads(self.type(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield f"iggy://iggy:iggy@{broker.address}"


@pytest.fixture
def shop(tmp_path: Path, server: str) -> Shop:
    return Shop(tmp_path, server)


def lost(shop: Shop) -> None:
    """One answer is remembered and one is not."""
    shop.warehouse.reserve("o-1")
    shop.warehouse.back_up()
    shop.warehouse.reserve("o-2")
    shop.warehouse.restore()
    shop.publish()


def test_what_is_missing_is_listed_and_what_can_be_done(shop: Shop) -> None:
    lost(shop)
    said = shop.type("inventory")
    assert (said.exit_code, said.stderr) == (1, "")
    assert "o-2" in said.stdout
    assert "o-1" not in said.stdout
    assert "1 of 2 answers of inventory are missing in " in said.stdout
    assert "next: sagas restored inventory --repeat --reason … or --accept --reason …" in said.stdout


def test_nothing_is_done_without_yes_and_what_was_done_is_kept(shop: Shop) -> None:
    lost(shop)
    said = shop.type("inventory", "--accept", "--reason", "to see")
    assert said.exit_code == 1
    assert "inventory goes on without what is missing\nnothing was done; say it again with --yes" in said.stdout
    assert shop.warehouse.desk.store.remembered.restored_ms == 0

    assert shop.type("inventory", "--accept", *SAY_WHY).exit_code == 0
    found = shop.json("inventory")
    assert (found["missing"], found["known_missing"]) == ([], 1)
    assert shop.warehouse.desk.rows("SELECT how, reason FROM restored") == [("accept", "the disk was lost")]
    shop.warehouse.start()


def test_carrying_out_again_begins_with_the_oldest_command(shop: Shop) -> None:
    lost(shop)
    said = shop.type("inventory", "--repeat", *SAY_WHY)
    assert said.exit_code == 0
    assert "inventory reads its 0 commands again at its next start" in said.stdout
    shop.warehouse.start()


def test_what_was_answered_otherwise_since_is_told(shop: Shop) -> None:
    shop.warehouse.back_up()
    shop.warehouse.reserve("o-1")
    shop.warehouse.restore()
    with shop.warehouse.desk.store.transaction() as transaction:
        transaction.sql.execute("UPDATE products SET on_shelf = 0")
    shop.warehouse.reserve("o-1")
    shop.publish()
    said = shop.type("inventory")
    assert said.exit_code == 1
    assert "1 were answered otherwise since: their runs go by the first answer" in said.stdout
    (other,) = shop.json("inventory")["otherwise"]
    assert (other["answer"], other["now"]) == ("inventory.reserved", "inventory.failed")


def test_where_nothing_is_missing_there_is_nothing_to_do(shop: Shop) -> None:
    shop.warehouse.reserve("o-1")
    shop.publish()
    assert shop.type("inventory").exit_code == 0
    said = shop.type("inventory", "--repeat", *SAY_WHY)
    assert said.exit_code == 1
    assert "no answer of inventory is missing, so there is nothing to repeat" in said.stderr


def test_a_topic_that_is_not_there_is_named(shop: Shop) -> None:
    said = shop.type("inventory")
    assert said.exit_code == 1
    assert f"topic {INVENTORY.events!r} of stream {shop.stream!r} is not there" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("inventory", "--repeat", "--accept", *SAY_WHY), "--repeat or --accept, not both"),
        (("inventory", "--repeat", "--yes"), "--repeat needs a --reason: it is kept"),
        (("inventory", "--yes"), "say --repeat or --accept"),
        ((), "Missing argument 'PARTICIPANT'"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_read(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    said = Shop(tmp_path, "iggy://iggy:iggy@127.0.0.1:1").type(*arguments)
    assert said.exit_code == 2
    assert says in " ".join(said.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("stock",), "no step of the sagas loaded is carried out by 'stock'; known: inventory, orders, payments"),
        (("orders",), "orders.db"),
        (("inventory", "--db", "nowhere.db"), "nowhere.db"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    said = Shop(tmp_path, "iggy://iggy:iggy@127.0.0.1:1").type(*arguments)
    assert said.exit_code == 1
    assert says in said.stderr
