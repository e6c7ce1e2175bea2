"""Up to when everything was read, whoever has which partition: nobody fires over answers that are unread."""

from sagas.ports import CaughtUp, Reading
from sagas.store.members import LEASE_MS
from sagas.store.reading import AHEAD_MS_MAX
from sagas.store.sqlite import SqliteStore
from tests.store.builders import NOW_MS

EVERYTHING = frozenset({("orders", 0), ("orders", 1), ("payments", 0)})
ORDERS = frozenset({("orders", 0), ("orders", 1)})
PAYMENTS = EVERYTHING - ORDERS
NOTHING = frozenset[tuple[str, int]]()


def having_read(read: frozenset[tuple[str, int]], ms: int = NOW_MS) -> CaughtUp:
    return CaughtUp(ms=ms, reading=Reading(partitions=EVERYTHING, read=read))


def test_who_has_read_everything_itself_waits_for_nobody(pair: tuple[SqliteStore, SqliteStore]) -> None:
    alone, other = pair
    other.enter(NOW_MS)
    assert alone.read_by_all_ms(having_read(EVERYTHING)) == NOW_MS


def test_what_another_has_it_must_have_read_too(pair: tuple[SqliteStore, SqliteStore]) -> None:
    reader, other = pair
    other.renew(having_read(PAYMENTS, NOW_MS - 9), NOW_MS)
    assert reader.read_by_all_ms(having_read(ORDERS)) == NOW_MS - 9
    other.renew(having_read(PAYMENTS, NOW_MS + 9), NOW_MS + 9)
    assert reader.read_by_all_ms(having_read(ORDERS)) == NOW_MS


def test_a_partition_that_nobody_has_read_yet_holds_everything_back(pair: tuple[SqliteStore, SqliteStore]) -> None:
    reader, other = pair
    other.renew(having_read(NOTHING), NOW_MS)
    assert reader.read_by_all_ms(having_read(ORDERS)) == 0


def test_what_was_read_stays_read_when_its_reader_is_gone(pair: tuple[SqliteStore, SqliteStore]) -> None:
    reader, dead = pair
    dead.renew(having_read(PAYMENTS, NOW_MS - 9), NOW_MS)
    late_ms = NOW_MS + LEASE_MS + 1
    reader.renew(having_read(ORDERS, late_ms), late_ms)
    assert reader.read_by_all_ms(having_read(ORDERS, late_ms)) == NOW_MS - 9, "and what came after it is unread"
    assert reader.read_by_all_ms(having_read(EVERYTHING, late_ms)) == late_ms, "until somebody has read it"


def test_a_partition_that_is_lost_holds_back_whoever_had_it(pair: tuple[SqliteStore, SqliteStore]) -> None:
    loses, gains = pair
    gains.renew(having_read(PAYMENTS, NOW_MS + 500), NOW_MS + 500)
    loses.renew(having_read(ORDERS, NOW_MS), NOW_MS)
    kept = frozenset({("orders", 0)})
    assert loses.read_by_all_ms(having_read(kept, NOW_MS + 600)) == NOW_MS, "nobody has read the lost one since"
    gains.renew(having_read(EVERYTHING - kept, NOW_MS + 600), NOW_MS + 600)
    assert loses.read_by_all_ms(having_read(kept, NOW_MS + 600)) == NOW_MS + 600


def test_a_topic_that_is_read_no_more_is_not_waited_for(pair: tuple[SqliteStore, SqliteStore]) -> None:
    reader, older = pair
    retired = frozenset({("parcels", 0)})
    older.renew(CaughtUp(ms=NOW_MS, reading=Reading(partitions=EVERYTHING | retired, read=retired)), NOW_MS)
    assert reader.read_by_all_ms(having_read(EVERYTHING, NOW_MS + 9)) == NOW_MS + 9


def test_after_a_clock_was_set_back_its_earlier_word_counts_no_more(pair: tuple[SqliteStore, SqliteStore]) -> None:
    reader, other = pair
    other.renew(having_read(PAYMENTS, NOW_MS + 60_000), NOW_MS + 60_000)
    other.renew(having_read(PAYMENTS, NOW_MS - 9), NOW_MS)
    assert reader.read_by_all_ms(having_read(ORDERS)) == NOW_MS - 9


def test_what_was_read_by_a_clock_that_was_set_back_since_counts_as_unread(
    pair: tuple[SqliteStore, SqliteStore],
) -> None:
    reader, stands_still = pair
    stands_still.renew(having_read(PAYMENTS, NOW_MS + AHEAD_MS_MAX + 1), NOW_MS + AHEAD_MS_MAX + 1)
    # It has said nothing since, and answers that came since lie unread with it.
    assert reader.read_by_all_ms(having_read(ORDERS)) == 0
    stands_still.renew(having_read(PAYMENTS, NOW_MS + AHEAD_MS_MAX), NOW_MS)
    assert reader.read_by_all_ms(having_read(ORDERS)) == NOW_MS, "a poll that began a little later is none of those"
