"""Instances that are kept in memory between transactions: never anything but what is in the database."""

from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from sagas.core.instance import COMPLETED, STUCK, Instance
from sagas.errors import StaleRevision
from sagas.ports import Changes, InstanceFilter
from sagas.store.database import Database
from sagas.store.encoding import pack_id
from sagas.store.known import DATA_MAX, KnownInstances
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS, a_step_later, an_instance
from tests.store.suite import Refused, write, write_and_refuse


def loaded(store: SqliteStore, *instances: Instance) -> list[Instance]:
    """What a transaction reads of these instances, in their order."""
    with store.transaction() as transaction:
        found = transaction.load([instance.id for instance in instances])
        return [found[instance.id] for instance in instances if instance.id in found]


def reads(database: Database, store: SqliteStore, *instances: Instance) -> int:
    """How often the table is asked for these instances."""
    statements: list[str] = []
    database.connection.set_trace_callback(statements.append)
    loaded(store, *instances)
    database.connection.set_trace_callback(None)
    return sum("FROM instances" in statement for statement in statements)


def moved(instance: Instance) -> tuple[Instance, int]:
    return a_step_later(instance, "pay.pending")


def test_what_was_written_is_not_read_again(database: Database, pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = pair
    run, other = an_instance("o-1"), an_instance("o-2")
    write(store, Changes(created=[run]))
    later, before = moved(run)
    assert reads(database, store, run) == 0
    write(store, Changes(updated=[(later, before)], created=[other]))
    assert reads(database, store, run, other) == 0
    assert loaded(store, run, other) == [later, other]


def test_what_was_read_is_not_read_again(tmp_path: Path, database: Database) -> None:
    with ExitStack() as stack:
        writer, store = SqliteStore(tmp_path / "sagas.db"), SqliteStore(database)
        stack.callback(writer.close)
        stack.callback(store.close)
        run = an_instance("o-1")
        write(writer, Changes(created=[run]))
        assert [reads(database, store, run) for _ in range(3)] == [1, 0, 0]


def test_what_somebody_else_has_written_is_read(database: Database, pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, other = pair
    run = an_instance("o-1")
    write(store, Changes(created=[run]))
    later, before = moved(run)
    write(other, Changes(updated=[(later, before)]))
    assert loaded(store, run) == [later]
    assert reads(database, store, run) == 0


def test_what_this_connection_has_changed_by_another_way_is_read(
    database: Database, pair: tuple[SqliteStore, SqliteStore]
) -> None:
    store, _ = pair
    run = an_instance("o-1")
    write(store, Changes(created=[run]))
    with database.transaction():
        database.change("DELETE FROM instances WHERE id = ?", (pack_id(run.id),))
    assert loaded(store, run) == []


def test_what_was_rolled_back_was_never_there(pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = pair
    run, never = an_instance("o-1"), an_instance("o-2")
    write(store, Changes(created=[run]))
    with pytest.raises(Refused):
        write_and_refuse(store, Changes(updated=[moved(run)], created=[never]))
    assert loaded(store, run, never) == [run]


def test_a_part_of_a_transaction_sees_what_another_part_has_written(pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = pair
    run = an_instance("o-1")
    write(store, Changes(created=[run]))
    later, before = moved(run)
    with store.transaction() as transaction:
        transaction.write(Changes(updated=[(later, before)]))
        assert transaction.load([run.id]) == {run.id: later}


def test_a_run_that_was_purged_is_not_known_any_more(pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = pair
    run = an_instance("o-1", state=COMPLETED)
    write(store, Changes(created=[run]))
    assert loaded(store, run) == [run]
    store.cleaner.purge_runs(NOW_MS + 1, NOW_MS + 1, 9)
    assert loaded(store, run) == []


def test_a_stale_revision_is_told_by_what_is_in_the_database(pair: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = pair
    fresh, contested = an_instance("o-1"), an_instance("o-2")
    write(store, Changes(created=[fresh, contested]))
    write(store, Changes(updated=[moved(contested)]))
    with pytest.raises(StaleRevision) as caught:
        write(store, Changes(updated=[moved(fresh), moved(contested)]))
    assert caught.value.instance_id == contested.id
    assert loaded(store, fresh, contested) == [fresh, moved(contested)[0]]


@pytest.mark.parametrize("seed", range(25))
def test_whoever_writes_in_whatever_order_each_reads_what_is_there(
    database: Database, pair: tuple[SqliteStore, SqliteStore], seed: int
) -> None:
    random, there = Random(seed), dict[str, Instance]()
    everything = [an_instance(f"o-{number}", age=number) for number in range(12)]
    for _ in range(60):
        store = random.choice(pair)
        some = random.sample(everything, random.randrange(1, 6))
        changes = Changes(
            created=[run for run in some if run.id not in there],
            updated=[
                a_step_later(there[run.id], random.choice(["a.pending", STUCK])) for run in some if run.id in there
            ],
        )
        match random.randrange(5):
            case 0:
                with pytest.raises(Refused):
                    write_and_refuse(store, changes)
            case 1:
                store.renew(None, NOW_MS)
            case _:
                write(store, changes)
                there |= {run.id: run for run in (*changes.created, *(later for later, _ in changes.updated))}
        for reader in random.sample(pair, random.randrange(3)):
            assert loaded(reader, *everything) == [there[run.id] for run in everything if run.id in there], (
                f"seed {seed}"
            )
    assert sorted(pair[1].instances(InstanceFilter()), key=lambda run: run.key) == sorted(
        there.values(), key=lambda run: run.key
    )


# --------------------------------------------------------------------------- how much


def known(database: Database, *, count_max: int = 9, busy_min: int = 9) -> KnownInstances:
    known = KnownInstances(database, count_max, busy_min)
    known.begin()
    known.end(has_committed=True)
    known.begin()
    return known


def test_those_that_moved_last_are_kept_and_none_that_has_ended(database: Database) -> None:
    kept = known(database, count_max=3)
    runs = [an_instance(f"o-{number}") for number in range(5)]
    kept.note(runs[:3])
    kept.note([runs[0]])
    kept.note(runs[3:])
    assert [run.key for run in runs if kept.get(run.id)] == ["o-0", "o-3", "o-4"]
    kept.note([replace(runs[4], state=COMPLETED), replace(runs[3], state=STUCK)])
    assert [run.key for run in runs if kept.get(run.id)] == ["o-0"]


@pytest.mark.parametrize(
    "large",
    [
        {"data": b" " * (DATA_MAX + 1)},
        {"items": (("pack/1", b" " * DATA_MAX), ("pack/2", b"{}"))},
        {"signals": (("approve", "order.approved", b" " * DATA_MAX),)},
    ],
    ids=["data", "items", "signals"],
)
def test_a_run_with_much_data_is_read_each_time(database: Database, large: dict[str, Any]) -> None:
    kept, run = known(database), an_instance("o-1")
    kept.note([run])
    assert kept.get(run.id) == run
    kept.note([replace(run, **large)])
    assert kept.get(run.id) is None


def test_while_very_many_move_at_once_none_is_kept(database: Database) -> None:
    kept, run = known(database, busy_min=4), an_instance("o-1")
    kept.note([run] * 4)
    kept.end(has_committed=True)
    kept.begin()
    kept.note([run])
    assert kept.get(run.id) is None
    kept.end(has_committed=True)
    kept.begin()
    kept.note([run])
    assert kept.get(run.id) == run
