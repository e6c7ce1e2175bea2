"""What the surroundings do to a database file: locked, full, read-only, damaged, deleted; not power cuts.

What it comes to in a running system is in tests/runtime/test_database_faults.py and tests/e2e/test_database_faults.py.
"""

import random
import shutil
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sagas.core.instance import STUCK
from sagas.errors import DamagedInstance, StoreError
from sagas.ports import Changes, InstanceFilter
from sagas.store.database import QUICK_CHECK_BYTES_MAX, Database
from sagas.store.records import pack_instance, read_version
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS, a_step_later, a_timer, an_instance, an_outbox_row
from tests.store.suite import write

FLIPS = 400
PAGE = 4096


class TunedStore(SqliteStore):
    """A store whose connection can be told a pragma."""

    def tell(self, pragma: str) -> None:
        self._database.rows(f"PRAGMA {pragma}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


@pytest.fixture
def store(path: Path) -> Iterator[TunedStore]:
    opened = TunedStore(path)
    opened.tell("busy_timeout = 30")
    yield opened
    opened.close()


def everything(key: str) -> Changes:
    """A batch that touches several tables."""
    instance = an_instance(key)
    return Changes(created=[instance], inbox=[key], outbox=[an_outbox_row(key)], timers_set=[a_timer(instance, "t", 1)])


def keys(store: SqliteStore) -> list[str]:
    return sorted(instance.key for instance in store.instances(InstanceFilter(count_max=99)))


def nothing_of_it(store: SqliteStore, key: str) -> bool:
    with store.transaction() as transaction:
        return (
            key not in keys(store)
            and not transaction.seen([key])
            and not transaction.due_timers(NOW_MS, 9)
            and not store.unpublished(9)
        )


# --------------------------------------------------------------------------- locked, full, read-only


def test_a_lock_that_outlasts_the_patience_is_an_error_with_nothing_half_done(path: Path, store: TunedStore) -> None:
    other = Database(path)
    with other.transaction(), pytest.raises(StoreError, match="kept it locked"):
        write(store, everything("o-1"))
    assert nothing_of_it(store, "o-1")
    write(store, everything("o-1"))
    assert keys(store) == ["o-1"]
    other.close()


def test_a_lock_that_is_let_go_in_time_is_waited_for(path: Path, store: TunedStore) -> None:
    store.tell("busy_timeout = 5000")
    other = Database(path)
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with other.transaction():
            is_locked.set()
            may_end.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_locked.wait(5)
    threading.Timer(0.05, may_end.set).start()
    write(store, everything("o-1"))
    holder.join()
    assert keys(store) == ["o-1"]
    other.close()


def test_a_backup_that_reads_for_long_keeps_nobody_from_writing(path: Path, store: TunedStore) -> None:
    write(store, everything("o-1"))
    backup = Database(path, read_only=True)
    backup.rows("BEGIN")
    assert backup.value("SELECT count(*) FROM instances") == 1
    write(store, everything("o-2"))
    assert backup.value("SELECT count(*) FROM instances") == 1, "it reads what was there when it began"
    backup.close()
    assert keys(store) == ["o-1", "o-2"]


@pytest.mark.parametrize(
    ("broken", "mended", "what"),
    [
        ("max_page_count = 1", "max_page_count = 1000000", "the disk is full"),
        ("query_only = ON", "query_only = OFF", "it cannot be written"),
    ],
    ids=["full", "read-only"],
)
def test_a_file_that_cannot_be_written_for_a_while_keeps_nothing_and_then_everything(
    store: TunedStore, broken: str, mended: str, what: str
) -> None:
    # One page is less than there are: SQLite takes that for "no page more".
    store.tell(broken)
    many = [an_instance(f"many-{number}", age=number) for number in range(200)]
    with pytest.raises(StoreError, match=what):
        write(store, Changes(created=many, inbox=["m-1"]))
    store.tell(mended)
    assert keys(store) == []
    write(store, Changes(created=many, inbox=["m-1"]))
    assert store.in_flight() == 200


# --------------------------------------------------------------------------- damaged rows


def flip_bits_of_records(path: Path, chance: random.Random) -> tuple[bytes, int]:
    """The file with one bit changed somewhere in the only stored record, and where."""
    database = Database(path, read_only=True)
    record = bytes(database.value("SELECT record FROM instances"))
    database.close()
    content = bytearray(path.read_bytes())
    at = content.index(record) + chance.randrange(len(record))
    content[at] ^= 1 << chance.randrange(8)
    return bytes(content), at


def test_every_flipped_bit_of_a_record_is_noticed(path: Path) -> None:
    store = SqliteStore(path)
    write(store, Changes(created=[an_instance("o-1")]))
    store.close()
    whole, chance = path.read_bytes(), random.Random(20_261_123)
    for _ in range(FLIPS):
        flipped, at = flip_bits_of_records(path, chance)
        path.write_bytes(flipped)
        reader = SqliteStore(path, read_only=True)
        with pytest.raises(StoreError, match=f"row of instance {an_instance('o-1').id} is damaged"):
            reader.instance("order", "o-1")
        reader.close()
        path.write_bytes(whole)
        assert at > 0


def damage(path: Path, column: str, value: object, key: str) -> None:
    database = Database(path)
    with database.transaction():
        database.change(f"UPDATE instances SET {column} = ? WHERE key = ?", (value, key))
    database.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [("record", bytearray(b"\xc1\x00\x00\x00\x00\x80")), ("revision", 77), ("state", "pay.pendinG")],
)
def test_a_damaged_row_is_set_aside_and_the_others_go_on(
    path: Path, store: TunedStore, column: str, value: object
) -> None:
    hurt, sound = an_instance("hurt"), an_instance("sound")
    timers = [a_timer(hurt, "t", NOW_MS - 1), a_timer(sound, "t", NOW_MS)]
    write(store, Changes(created=[hurt, sound], timers_set=timers))
    damage(path, column, value, "hurt")
    with pytest.raises(DamagedInstance), store.transaction() as transaction:
        transaction.load([hurt.id, sound.id])
    with store.transaction() as transaction:
        assert transaction.load([sound.id]) == {sound.id: sound}
        assert [timer.instance_id for timer in transaction.due_timers(NOW_MS, 9)] == [sound.id]
    assert store.in_flight() == 1


def test_a_damaged_row_is_seen_in_the_list_as_stuck_with_its_reason(path: Path, store: TunedStore) -> None:
    write(store, Changes(created=[an_instance("hurt"), an_instance("sound")]))
    damage(path, "record", bytearray(b"\xc1\x00\x00\x00\x00\x80"), "hurt")
    listed = {instance.key: instance for instance in store.instances(InstanceFilter())}
    assert listed["sound"] == an_instance("sound")
    assert listed["hurt"].state == STUCK
    assert "its checksum does not fit" in listed["hurt"].reason
    assert "restore a backup" in listed["hurt"].reason


def test_a_row_of_an_older_release_has_no_checksum_and_is_read(path: Path, store: TunedStore) -> None:
    instance = an_instance("o-1")
    write(store, Changes(created=[instance]))
    database = Database(path)
    record = bytes(database.value("SELECT record FROM instances"))
    database.close()
    damage(path, "record", bytearray(record[5:]), "o-1")
    assert store.instance("order", "o-1") == instance
    later, revision = a_step_later(instance)
    write(store, Changes(updated=[(later, revision)]))
    assert store.instance("order", "o-1") == later


# The instance `an_instance("o-1")` as it was written before records were stored by the order of their fields.
BY_NAME = b64decode(
    "wYCDTZreABSiaWTZJDAxOTljODJjLWMwMDAtNzlmYS05NzYzLWVjYzg1Y2ExOTg5YqRzYWdhpW9yZGVyp3ZlcnNpb24Do2tleaNv"
    "LTGlc3RhdGWvcmVzZXJ2ZS5wZW5kaW5npGRhdGHEHnsib3JkZXJfaWQiOiJvLTEiLCJub3RlIjoiw6QifahyZXZpc2lvbgGqc3Rh"
    "cnRlZF9tc88AAAGZyCzAAKp1cGRhdGVkX21zzwAAAZnILMAAq2RlYWRsaW5lX21zzwAAAZnILapgqnN0YXJ0X2hhc2jEAgD/pXN0"
    "ZXBzko2kbmFtZaZjcmVhdGWmZWZmZWN0pGRvbmWlcmVwbHmtb3JkZXIuY3JlYXRlZKhhdHRlbXB0cwGmZmF1bHRzAKdzZW50X21z"
    "zwAAAZnILMAAq2Fuc3dlcmVkX21zzwAAAZnILMABqnVuZG9fcmVwbHmgrXVuZG9fYXR0ZW1wdHMAq3VuZG9fZmF1bHRzAKx1bmRv"
    "X3NlbnRfbXMAsHVuZG9fYW5zd2VyZWRfbXMAp3NlbnRfYXOgjaRuYW1lp3Jlc2VydmWmZWZmZWN0qGludGVuZGVkpXJlcGx5oKhh"
    "dHRlbXB0cwKmZmF1bHRzAKdzZW50X21zAKthbnN3ZXJlZF9tcwCqdW5kb19yZXBsebJpbnZlbnRvcnkucmVsZWFzZWStdW5kb19h"
    "dHRlbXB0cwGrdW5kb19mYXVsdHMArHVuZG9fc2VudF9tcwCwdW5kb19hbnN3ZXJlZF9tcwCnc2VudF9hc6ClY2F1c2WndGltZW91"
    "dKZyZWFzb26wcGF5bWVudDogcmVmdXNlZKpzdHVja19zdGVwoKpzdHVja19mcm9toKhpbmNpZGVudKCnY29udGVudKClbWFya3OQ"
    "p3NpZ25hbHOQ"
)


def test_a_row_of_an_older_release_names_its_fields_and_is_read(path: Path, store: TunedStore) -> None:
    instance = an_instance("o-1")
    write(store, Changes(created=[instance]))
    damage(path, "record", bytearray(BY_NAME), "o-1")
    assert read_version(BY_NAME) == instance.version
    assert store.instance("order", "o-1") == instance
    later, revision = a_step_later(instance)
    write(store, Changes(updated=[(later, revision)]))
    assert store.instance("order", "o-1") == later


def test_a_row_of_a_still_older_release_lacks_fields_that_came_later(path: Path, store: TunedStore) -> None:
    instance = replace(an_instance("o-1"), content="", marks=(), signals=(), incident="")
    write(store, Changes(created=[instance]))
    named = msgspec.msgpack.decode(BY_NAME[5:], type=dict[str, Any])
    for field in ("content", "marks", "signals", "incident"):
        del named[field]
    damage(path, "record", bytearray(msgspec.msgpack.encode(named)), "o-1")
    assert store.instance("order", "o-1") == instance


def test_a_record_without_what_each_instance_has_is_damaged(path: Path, store: TunedStore) -> None:
    write(store, Changes(created=[an_instance("o-1")]))
    named = msgspec.msgpack.decode(BY_NAME[5:], type=dict[str, Any])
    damage(path, "record", bytearray(msgspec.msgpack.encode({**named, "steps": [{"effect": "done"}]})), "o-1")
    with pytest.raises(StoreError, match="StepRecord without its 'name'"):
        store.instance("order", "o-1")


def test_a_record_takes_as_little_room_as_its_content(store: TunedStore) -> None:
    assert len(pack_instance(an_instance("o-1"))) < 0.4 * len(BY_NAME)


def test_a_damaged_row_of_the_outbox_keeps_none_of_the_others_from_being_published(
    path: Path, store: TunedStore, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, Changes(outbox=[an_outbox_row(name) for name in ("a", "b", "c", "d", "e")]))
    other = Database(path)
    with other.transaction():
        other.change("UPDATE outbox SET headers = x'c1' WHERE seq IN (1, 2, 4)")
    for _ in range(2):
        assert [row.seq for row in store.unpublished(9)] == [3, 5]
    assert [row.seq for row in store.unpublished(1)] == [3]
    assert [row.seq for row in store.unpublished(2)] == [3, 5]
    assert [message for message in caplog.messages if "row 4 of the outbox is not published" in message] == [
        caplog.messages[-1]
    ]
    store.mark_published([3, 5], NOW_MS)
    assert store.unpublished(9) == []
    assert other.rows("SELECT seq FROM outbox") == [(1,), (2,), (4,)], "it waits for a person"
    other.close()


# --------------------------------------------------------------------------- a damaged file


def test_a_page_of_rubbish_is_noticed_when_the_file_is_opened(path: Path) -> None:
    store = SqliteStore(path)
    write(store, Changes(created=[an_instance(f"o-{number}") for number in range(300)]))
    store.close()
    content = bytearray(path.read_bytes())
    assert len(content) <= QUICK_CHECK_BYTES_MAX
    middle = len(content) // PAGE // 2 * PAGE
    content[middle : middle + PAGE] = random.Random(1).randbytes(PAGE)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"sagas\.db: the file is damaged .*restore a backup"):
        SqliteStore(path)


def test_without_its_log_a_file_stands_where_it_was_last_complete(path: Path, tmp_path: Path) -> None:
    store = SqliteStore(path)
    write(store, everything("o-1"))
    store.close()  # what was in the log has come into the file
    store = SqliteStore(path)
    write(store, everything("o-2"))
    # As after a crash, and somebody has tidied up the file with the strange name.
    shutil.copy(path, tmp_path / "alone.db")
    store.close()
    alone = SqliteStore(tmp_path / "alone.db")
    assert keys(alone) == ["o-1"], "whole, but older: a backup has to take the -wal with it"
    alone.close()


# --------------------------------------------------------------------------- deleted under us


def test_a_file_that_was_deleted_under_us_takes_nothing_more_and_can_be_rescued(path: Path, store: TunedStore) -> None:
    write(store, everything("o-1"))
    path.unlink()
    with pytest.raises(StoreError, match=r"was deleted or replaced while it is open.* /proc/\d+/fd"):
        write(store, everything("o-2"))
    # What the message says: the open file is still there for whoever knows where.
    (still_open,) = [
        link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.readlink() == deleted(path)
    ]
    shutil.copy(still_open, path)
    rescued = SqliteStore(path, read_only=True)
    assert keys(rescued) == ["o-1"]
    rescued.close()


def test_a_log_that_was_deleted_under_us_is_missed_too(path: Path, store: TunedStore) -> None:
    write(store, everything("o-1"))
    path.with_name(f"{path.name}-wal").unlink()
    with pytest.raises(StoreError, match=r"sagas\.db-wal: was deleted or replaced"):
        write(store, everything("o-2"))


def deleted(path: Path) -> Path:
    return path.with_name(f"{path.name} (deleted)")


def test_a_file_that_was_replaced_under_us_is_not_mistaken_for_ours(path: Path, store: TunedStore) -> None:
    write(store, everything("o-1"))
    backup = path.with_name("backup.db")
    SqliteStore(backup).close()
    backup.replace(path)
    with pytest.raises(StoreError, match="was deleted or replaced"):
        write(store, everything("o-2"))
