"""What every `Store` must do as a `JournalFeed`: a part of its contract (`contract.py`)."""

from sagas.core.instance import Instance
from sagas.ports import Changes, FeedRow, Store
from tests.store.builders import a_journal_row, a_step_later, an_instance
from tests.store.suite import Refused, StoreSuite, write, write_and_refuse


def told(rows: list[FeedRow]) -> list[tuple[str, int]]:
    return [(row.key, row.entry.revision) for row in rows]


def created(instance: Instance) -> Changes:
    return Changes(created=[instance], journal=[a_journal_row(instance, 1)])


class FeedContract(StoreSuite):
    """Every journal row, once at least, in the order of the commits."""

    def test_nothing_is_listed_before_the_feed_is_begun(self, store: Store) -> None:
        write(store, created(an_instance("o-1")))
        assert (store.unfed(9), store.waiting_to_be_fed()) == ([], 0)

    def test_a_row_is_listed_with_what_it_does_not_say_itself(self, store: Store) -> None:
        store.begin_feed()
        instance = an_instance("o-1")
        write(store, created(instance))
        (row,) = store.unfed(9)
        assert (row.saga, row.version, row.key) == ("order", 3, "o-1")
        assert row.entry == a_journal_row(instance, 1) == store.journal(instance.id)[0]

    def test_rows_come_in_the_order_of_the_commits_whatever_their_ids(self, store: Store) -> None:
        store.begin_feed()
        # A larger age is an older id: the order of the ids is the other way round.
        first, second = an_instance("o-1", age=1), an_instance("o-2", age=2)
        write(store, created(first))
        write(store, Changes(created=[second], journal=[a_journal_row(second, 1), a_journal_row(second, 2)]))
        write(store, Changes(updated=[a_step_later(first)], journal=[a_journal_row(first, 2)]))
        assert told(store.unfed(9)) == [("o-1", 1), ("o-2", 1), ("o-2", 2), ("o-1", 2)]
        assert told(store.unfed(2)) == [("o-1", 1), ("o-2", 1)]
        assert store.waiting_to_be_fed() == 4

    def test_what_was_told_is_not_listed_again_and_nothing_behind_it_is_passed_over(self, store: Store) -> None:
        store.begin_feed()
        for number in range(4):
            write(store, created(an_instance(f"o-{number}")))
            # Told to the last one each time: numbers must not begin anew when nothing is left.
            rows = store.unfed(9)
            assert told(rows) == [(f"o-{number}", 1)]
            store.mark_fed(rows[-1].seq)
            assert (store.unfed(9), store.waiting_to_be_fed()) == ([], 0)

    def test_telling_of_fewer_later_takes_nothing_back(self, store: Store) -> None:
        store.begin_feed()
        for number in range(3):
            write(store, created(an_instance(f"o-{number}")))
        first, _, last = store.unfed(9)
        store.mark_fed(last.seq)
        store.mark_fed(first.seq)
        assert store.unfed(9) == []

    def test_a_transaction_that_is_rolled_back_is_never_listed(self, store: Store) -> None:
        store.begin_feed()
        try:
            write_and_refuse(store, created(an_instance("o-1")))
        except Refused:
            assert store.unfed(9) == []

    def test_what_was_there_before_is_listed_when_the_feed_is_begun_and_only_then(self, store: Store) -> None:
        old = an_instance("o-1")
        write(store, Changes(created=[old], journal=[a_journal_row(old, 2), a_journal_row(old, 1)]))
        store.begin_feed()
        write(store, created(an_instance("o-2")))
        store.begin_feed()
        assert told(store.unfed(9)) == [("o-1", 1), ("o-1", 2), ("o-2", 1)]
