"""What every `Store` must do with messages and times: the second half of its contract (`contract.py`)."""

import pytest
from msgspec.structs import replace

from sagas.ports import Changes, Store
from tests.store.builders import (
    FOREIGN_ID,
    NOW_MS,
    a_dead_letter,
    a_journal_row,
    a_message_id,
    a_parked_row,
    a_timer,
    an_instance,
    an_outbox_row,
)
from tests.store.feed_contract import FeedContract
from tests.store.suite import MANY, Refused, write, write_and_refuse


class MessagesContract(FeedContract):
    """Inbox, journal, outbox, timers, parked replies and dead letters."""

    # ------------------------------------------------------------------ inbox

    @pytest.mark.parametrize("message_id", [a_message_id("m"), FOREIGN_ID, "sixteen-letters!", "", "a\0b", "A" * 36])
    def test_a_message_is_seen_after_it_was_dealt_with_whatever_its_id(self, store: Store, message_id: str) -> None:
        with store.transaction() as transaction:
            assert transaction.seen([message_id]) == set()
            transaction.write(Changes(inbox=[message_id]))
        with store.transaction() as transaction:
            assert transaction.seen([message_id, a_message_id("other"), "other"]) == {message_id}

    def test_an_id_in_capitals_is_another_id(self, store: Store) -> None:
        message_id = a_message_id("m")
        write(store, Changes(inbox=[message_id]))
        with store.transaction() as transaction:
            assert transaction.seen([message_id.upper()]) == set()

    def test_more_messages_than_a_statement_takes_are_seen_at_once(self, store: Store) -> None:
        ids = [a_message_id(str(number)) for number in range(MANY)]
        write(store, Changes(inbox=ids[:-1]))
        with store.transaction() as transaction:
            assert transaction.seen(ids) == set(ids[:-1])

    # ------------------------------------------------------------------ journal

    def test_the_journal_tells_everything_oldest_first(self, store: Store) -> None:
        instance, other = an_instance("o-1"), an_instance("o-2")
        rows = [a_journal_row(instance, revision) for revision in (1, 2, 3)]
        write(store, Changes(journal=[rows[2], a_journal_row(other, 1), rows[0]]))
        write(store, Changes(journal=[rows[1]]))
        assert store.journal(instance.id) == rows
        assert store.journal(an_instance("o-9").id) == []

    # ------------------------------------------------------------------ outbox

    def test_outbox_rows_come_in_the_order_they_were_written(self, store: Store) -> None:
        names = ["c", "a", "b"]
        write(store, Changes(outbox=[an_outbox_row(name, created_at=NOW_MS - i) for i, name in enumerate(names)]))
        write(store, Changes(outbox=[an_outbox_row("a")]))
        rows = store.unpublished(9)
        assert [row.headers["step"] for row in rows] == ["c", "a", "b", "a"]
        assert sorted(row.seq for row in rows) == [row.seq for row in rows]
        assert store.unpublished(2) == rows[:2]

    def test_an_outbox_row_comes_back_as_it_was_written_but_for_its_number(self, store: Store) -> None:
        row = an_outbox_row("reserve")
        write(store, Changes(outbox=[row]))
        (found,) = store.unpublished(9)
        assert replace(found, seq=0) == row

    def test_what_was_committed_is_handed_over_once_from_the_first_time_it_is_asked_for(self, store: Store) -> None:
        write(store, Changes(outbox=[an_outbox_row("before")]))
        assert store.take_committed() == [], "it is in the table, like all that came before"
        write(store, Changes(outbox=[an_outbox_row("a"), an_outbox_row("b")]))
        write(store, Changes(outbox=[an_outbox_row("c")]))
        assert store.take_committed() == store.unpublished(9)[1:]
        assert store.take_committed() == []

    def test_what_was_rolled_back_is_not_handed_over(self, store: Store) -> None:
        store.take_committed()
        with pytest.raises(Refused):
            write_and_refuse(store, Changes(outbox=[an_outbox_row("a")]))
        write(store, Changes(outbox=[an_outbox_row("b")]))
        assert [row.headers["step"] for row in store.take_committed()] == ["b"]

    def test_what_was_noted_as_published_goes_with_the_next_transaction_or_look(self, store: Store) -> None:
        write(store, Changes(outbox=[an_outbox_row(name) for name in "abcd"]))
        first, second, third, fourth = store.unpublished(9)
        store.note_published([first.seq, third.seq])
        with pytest.raises(ZeroDivisionError), store.transaction():
            raise ZeroDivisionError
        write(store, Changes(outbox=[an_outbox_row("e")]))
        assert [row.headers["step"] for row in store.unpublished(9)] == ["b", "d", "e"]
        store.note_published([second.seq])
        assert [row.headers["step"] for row in store.unpublished(9)] == ["d", "e"]
        store.note_published([fourth.seq])
        store.mark_published([], NOW_MS)
        assert [row.headers["step"] for row in store.unpublished(9)] == ["e"]

    def test_a_published_row_is_not_offered_again(self, store: Store) -> None:
        write(store, Changes(outbox=[an_outbox_row(name) for name in "abc"]))
        first, second, third = store.unpublished(9)
        store.mark_published([first.seq, third.seq], NOW_MS)
        store.mark_published([first.seq], NOW_MS + 1)
        assert store.unpublished(9) == [second]

    # ------------------------------------------------------------------ timers

    def test_due_timers_come_the_longest_overdue_first(self, store: Store) -> None:
        instance = an_instance("o-1")
        late, later, coming = (a_timer(instance, name, NOW_MS + due) for name, due in (("b", 0), ("a", 5), ("c", 6)))
        write(store, Changes(timers_set=[coming, later, late]))
        assert store.next_due_ms() == NOW_MS
        with store.transaction() as transaction:
            assert transaction.due_timers(NOW_MS - 1, 9) == []
            assert transaction.due_timers(NOW_MS + 5, 9) == [late, later]
            assert transaction.due_timers(NOW_MS + 5, 1) == [late]

    def test_setting_a_timer_again_replaces_it(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(timers_set=[a_timer(instance, "step", NOW_MS)]))
        again = a_timer(instance, "step", NOW_MS + 9)
        write(store, Changes(timers_set=[a_timer(instance, "step", NOW_MS + 3), again]))
        with store.transaction() as transaction:
            assert transaction.due_timers(NOW_MS + 9, 9) == [again]

    def test_a_cleared_timer_is_gone_unless_the_same_batch_sets_it(self, store: Store) -> None:
        instance, other = an_instance("o-1"), an_instance("o-2")
        kept, again = a_timer(other, "step", NOW_MS), a_timer(instance, "deadline", NOW_MS + 1)
        write(store, Changes(timers_set=[a_timer(instance, "step", NOW_MS), a_timer(instance, "deadline", 5), kept]))
        cleared = [(instance.id, "step"), (instance.id, "deadline"), (instance.id, "never set")]
        write(store, Changes(timers_cleared=cleared, timers_set=[again]))
        with store.transaction() as transaction:
            assert transaction.due_timers(NOW_MS + 9, 9) == [kept, again]

    # ------------------------------------------------------------------ parked and dead

    def test_parked_replies_are_found_by_instance_oldest_first(self, store: Store) -> None:
        one, two, three = (an_instance(key) for key in ("o-1", "o-2", "o-3"))
        newest, oldest = (a_parked_row(one, name, received_ms=NOW_MS - age) for name, age in (("n", 1), ("o", 9)))
        between, same_time = (a_parked_row(two, name, received_ms=NOW_MS - age) for name, age in (("b", 5), ("s", 1)))
        write(store, Changes(parked=[newest, between, a_parked_row(three, "x"), oldest, same_time]))
        with store.transaction() as transaction:
            assert transaction.parked_for([two.id, one.id]) == [oldest, between, newest, same_time]
            assert transaction.parked_for([]) == []

    def test_an_unparked_reply_is_gone_unless_the_same_batch_parks_it_again(self, store: Store) -> None:
        instance = an_instance("o-1")
        first, second = a_parked_row(instance, "a"), a_parked_row(instance, "b")
        write(store, Changes(parked=[first, second]))
        again = a_parked_row(instance, "b", expires_ms=NOW_MS + 9)
        write(store, Changes(unparked=[first.message_id, second.message_id], parked=[again]))
        with store.transaction() as transaction:
            assert transaction.parked_for([instance.id]) == [again]

    def test_parked_replies_expire_at_their_time(self, store: Store) -> None:
        instance = an_instance("o-1")
        soon, later = (a_parked_row(instance, name, expires_ms=NOW_MS + due) for name, due in (("a", 3), ("b", 8)))
        write(store, Changes(parked=[later, soon]))
        with store.transaction() as transaction:
            assert transaction.parked_expired(NOW_MS + 2, 9) == []
            assert transaction.parked_expired(NOW_MS + 3, 9) == [soon]
            assert transaction.parked_expired(NOW_MS + 8, 1) == [soon]

    def test_the_next_due_time_is_the_sooner_of_timers_and_parked_replies(self, store: Store) -> None:
        assert store.next_due_ms() is None
        instance = an_instance("o-1")
        write(store, Changes(parked=[a_parked_row(instance, "a", expires_ms=NOW_MS + 5)]))
        assert store.next_due_ms() == NOW_MS + 5
        write(store, Changes(timers_set=[a_timer(instance, "step", NOW_MS + 4)]))
        assert store.next_due_ms() == NOW_MS + 4

    def test_dead_letters_are_kept_as_they_came_newest_first(self, store: Store) -> None:
        letters = [a_dead_letter("first"), a_dead_letter("second", message_id=a_message_id("m"))]
        write(store, Changes(dead_letters=letters))
        found = store.dead_letters(9)
        assert [replace(letter, id=0) for letter in found] == letters[::-1]
        assert found[0].id > found[1].id
        assert store.dead_letters(1) == found[:1]
