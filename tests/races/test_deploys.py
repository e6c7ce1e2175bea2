"""Races of a deployment: nodes and participants that do not know yet, or know no more, what comes to them."""

from collections.abc import Iterator

import msgspec
import pytest

from sagas import Command, Event, Participant
from sagas.core.messages import Undeliverable, tag_of
from sagas.ports import Sql
from sagas.runtime.admission import StrandedInstances
from sagas.runtime.participant import Service
from sagas.store.sqlite import SqliteStore
from tests.core.variants import BANK, Plan, a_command, variant
from tests.runtime.node import Node
from tests.services.desk import Desk

PACK = Plan("pack", a_command("pack"), a_command("unpack"))
PAY = Plan("pay", a_command("pay"), a_command("refund"), to=BANK)
CHARGE = PAY._replace(name="charge")
V1 = variant(1, PACK, PAY)
V2 = variant(2, PACK, CHARGE)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    yield made
    made.close()


def test_race_06_a_run_of_a_version_that_is_not_loaded_is_left_for_a_node_that_has_it(store: SqliteStore) -> None:
    Node(store, V2).start("o-1")
    before = store.instance("tale", "o-1")
    old = Node(store, V1, may_strand=True)
    old.fire()
    assert old.reply("o-1", "pack", "pack.done") == before
    assert store.dead_letters(9) == []
    # Neither was lost: the answer lies parked, the timer waits.
    with store.transaction() as transaction:
        assert "pack" in {timer.name for timer in transaction.due_timers(old.now_ms + 3_600_000, 9)}
    new = Node(store, V2)
    new.now_ms = old.now_ms
    new.fire()
    assert new.instance("o-1").state == "charge.pending"


def test_race_80_a_definition_that_lacks_a_live_state_is_not_let_in(store: SqliteStore) -> None:
    node = Node(store, V1)
    node.start("o-1")
    at_pay = node.reply("o-1", "pack", "pack.done")
    with pytest.raises(StrandedInstances, match=r'(?s)step .pay. no longer exists.*renames=\{"pay": "charge"\}'):
        Node(store, V2)
    assert Node(store, V1).instance("o-1") == at_pay
    assert Node(store, variant(2, PACK, CHARGE, renames={"pay": "charge"})).reply("o-1", "pay", "pay.done").is_ended


def test_race_82_an_old_node_touches_no_run_of_a_newer_version(store: SqliteStore) -> None:
    both = Node(store, V2)
    newer = both.start("o-1")
    old = Node(store, V1, may_strand=True)
    old.reply("o-1", "pack", "pack.done")
    old.fire()
    assert store.instance("tale", "o-1") == newer
    assert len(store.journal(newer.id)) == newer.revision == 1
    assert old.start("o-2").version == 1, "its own go on"


# --------------------------------------------------------------------------- participants


HOUSE = Participant("house", key="order_id")


class Packed(Event, tag="packed"):
    order_id: str


class Unpacked(Event, tag="unpacked"):
    order_id: str


class PackIt(Command[Packed], tag="pack-it"):
    order_id: str


class UnpackIt(Command[Unpacked], tag="unpack-it"):
    order_id: str


def _create(sql: Sql) -> None:
    sql.execute("CREATE TABLE parcels (order_id TEXT NOT NULL) STRICT")


def pack(sql: Sql, command: PackIt) -> Packed:
    sql.execute("INSERT INTO parcels VALUES (?)", [command.order_id])
    return Packed(order_id=command.order_id)


def unpack(sql: Sql, command: UnpackIt) -> Unpacked:
    sql.execute("DELETE FROM parcels WHERE order_id = ?", [command.order_id])
    return Unpacked(order_id=command.order_id)


def a_release(*, packs: bool = True, unpacks: bool = True) -> Service:
    """The service as one of its releases knows it."""
    service = Service(HOUSE)
    if packs:
        service.handles(pack)
    if unpacks:
        service.undoes(unpack)
    return service


@pytest.fixture
def house() -> Iterator[Desk]:
    """The service, whose release a test changes by `house.service`."""
    desk = Desk(a_release(), [("001-parcels", _create)])
    yield desk
    desk.store.close()


def test_race_54_a_command_nobody_understands_yet_turns_its_saga_back_and_is_never_carried_out(house: Desk) -> None:
    house.service = a_release(packs=False)
    (answer,) = house.hand(PackIt(order_id="o-1"), "pack")
    assert answer.event_type == tag_of(Undeliverable), "its saga need not wait for a timeout"
    house.service = a_release()
    (again,) = house.hand(PackIt(order_id="o-1"), "pack", attempt=2)
    assert (again.id, again.event_type) == (answer.id, answer.event_type), "its saga has turned back"
    assert house.rows("SELECT * FROM parcels") == []
    (packed,) = house.hand(PackIt(order_id="o-2"), "pack")
    assert packed.event_type == "packed"


def test_race_55_an_undo_without_its_handler_is_answered_so_and_carried_out_once_it_is_back(house: Desk) -> None:
    house.hand(PackIt(order_id="o-1"), "pack")
    house.service = a_release(unpacks=False)
    (answer,) = house.hand(UnpackIt(order_id="o-1"), "pack", "undo")
    assert answer.event_type == tag_of(Undeliverable), "its saga is stuck, and says over what"
    assert house.rows("SELECT * FROM parcels") == [("o-1",)]
    house.service = a_release()
    (undone,) = house.hand(UnpackIt(order_id="o-1"), "pack", "undo", attempt=2)
    assert undone.event_type == "unpacked", "what `sagas retry` asks for"
    assert house.rows("SELECT * FROM parcels") == []
    (repeated,) = house.hand(PackIt(order_id="o-1"), "pack", attempt=2)
    assert msgspec.structs.replace(repeated, seq=0).event_type == "packed", "its answer of then, and no second parcel"
    assert house.rows("SELECT * FROM parcels") == []
