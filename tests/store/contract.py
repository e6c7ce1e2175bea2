"""What every `Store` must do. A new adapter subclasses `StoreContract`, names how it is made, and has all of it."""

import pytest

from sagas.core.instance import ABANDONED, COMPENSATED, COMPLETED, REJECTED, STUCK
from sagas.errors import StaleRevision, StoreError, TransactionEnded
from sagas.ports import Changes, InstanceFilter, Store
from tests.store.builders import (
    FOREIGN_ID,
    NOW_MS,
    a_dead_letter,
    a_journal_row,
    a_message_id,
    a_parked_row,
    a_step_later,
    a_timer,
    an_instance,
    an_outbox_row,
)
from tests.store.messages_contract import MessagesContract
from tests.store.suite import MANY, Refused, write, write_and_refuse


class StoreContract(MessagesContract):
    """The behaviour of a `Store`: instances and transactions here, messages and times in the base class."""

    # ------------------------------------------------------------------ instances

    def test_an_instance_comes_back_exactly_as_it_was_written(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(created=[instance]))
        with store.transaction() as transaction:
            assert transaction.load([instance.id]) == {instance.id: instance}
            assert transaction.find("order", ["o-1"]) == {"o-1": instance}

    def test_what_does_not_exist_is_missing_from_the_answer(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(created=[instance]))
        with store.transaction() as transaction:
            assert transaction.load([instance.id, an_instance("o-2").id]) == {instance.id: instance}
            assert transaction.load([]) == {}
            assert transaction.find("order", ["o-2"]) == {}
            assert transaction.find("refund", ["o-1"]) == {}
            assert transaction.find("order", []) == {}

    def test_more_instances_than_a_statement_takes_are_found_at_once(self, store: Store) -> None:
        created = [an_instance(f"o-{number}", age=number) for number in range(MANY)]
        write(store, Changes(created=created))
        with store.transaction() as transaction:
            assert len(transaction.load([instance.id for instance in created])) == MANY
            assert transaction.find("order", {instance.key for instance in created})["o-1202"] == created[-1]

    def test_an_update_replaces_the_instance(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(created=[instance]))
        later, read_revision = a_step_later(instance)
        write(store, Changes(updated=[(later, read_revision)]))
        assert store.instance("order", "o-1") == later

    def test_a_stale_revision_writes_nothing_at_all(self, store: Store) -> None:
        fresh, contested = an_instance("o-1"), an_instance("o-2")
        write(store, Changes(created=[fresh, contested]))
        write(store, Changes(updated=[a_step_later(contested, "pay.pending")]))
        changes = Changes(
            inbox=[a_message_id("m")],
            created=[an_instance("o-3")],
            updated=[a_step_later(fresh), a_step_later(contested)],
            journal=[a_journal_row(fresh, 2)],
            outbox=[an_outbox_row("reserve")],
            timers_set=[a_timer(fresh, "step", NOW_MS)],
            dead_letters=[a_dead_letter("unknown")],
            parked=[a_parked_row(fresh, "early")],
        )
        with pytest.raises(StaleRevision) as caught:
            write(store, changes)
        assert (caught.value.instance_id, caught.value.expected) == (contested.id, contested.revision)
        assert store.instance("order", "o-1") == fresh
        assert store.instance("order", "o-3") is None
        assert (store.journal(fresh.id), store.unpublished(9), store.dead_letters(9)) == ([], [], [])
        assert store.next_due_ms() is None
        with store.transaction() as transaction:
            assert transaction.seen([a_message_id("m")]) == set()

    def test_an_instance_that_was_never_written_cannot_be_updated(self, store: Store) -> None:
        with pytest.raises(StaleRevision):
            write(store, Changes(updated=[a_step_later(an_instance("o-1"))]))

    def test_a_second_instance_of_a_key_is_told_like_a_stale_one(self, store: Store) -> None:
        first, other, second = an_instance("o-1"), an_instance("o-2"), an_instance("o-1", age=-5)
        write(store, Changes(created=[first]))
        with pytest.raises(StaleRevision) as caught:
            write(store, Changes(created=[other, second]))
        assert caught.value.instance_id == second.id
        assert store.instances(InstanceFilter()) == [first]

    def test_of_many_new_instances_the_one_that_meets_another_is_named(self, store: Store) -> None:
        first, second = an_instance("o-70"), an_instance("o-70", age=-5)
        write(store, Changes(created=[first]))
        others = [an_instance(f"o-{number}") for number in range(100) if number != 70]
        with pytest.raises(StaleRevision) as caught:
            write(store, Changes(created=[*others[:70], second, *others[70:]]))
        assert (caught.value.instance_id, caught.value.expected) == (second.id, 0)
        assert store.instances(InstanceFilter()) == [first]

    def test_the_same_instance_cannot_be_created_twice(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(created=[instance]))
        with pytest.raises(StaleRevision):
            write(store, Changes(created=[instance]))

    def test_two_sagas_may_have_the_same_key(self, store: Store) -> None:
        order, refund = an_instance("o-1"), an_instance("o-1", saga="refund")
        write(store, Changes(created=[order, refund]))
        assert store.instance("order", "o-1") == order
        assert store.instance("refund", "o-1") == refund

    def test_a_key_is_enough_when_only_one_saga_has_it(self, store: Store) -> None:
        instance = an_instance("o-1")
        write(store, Changes(created=[instance]))
        assert store.instance("", "o-1") == instance
        assert store.instance("", "o-2") is None

    def test_a_key_of_two_sagas_is_refused_and_both_are_named(self, store: Store) -> None:
        write(store, Changes(created=[an_instance("o-1"), an_instance("o-1", saga="refund")]))
        with pytest.raises(StoreError, match=r"order, refund"):
            store.instance("", "o-1")

    # ------------------------------------------------------------------ transactions

    def test_a_block_that_raises_leaves_nothing_behind(self, store: Store) -> None:
        with pytest.raises(Refused):
            write_and_refuse(store, Changes(created=[an_instance("o-1")], outbox=[an_outbox_row("reserve")]))
        assert store.instances(InstanceFilter()) == []
        assert store.unpublished(9) == []
        assert store.in_flight() == 0

    def test_a_transaction_sees_what_it_wrote(self, store: Store) -> None:
        instance = an_instance("o-1")
        with store.transaction() as transaction:
            transaction.write(Changes(created=[instance], inbox=[FOREIGN_ID]))
            assert transaction.load([instance.id]) == {instance.id: instance}
            assert transaction.seen([FOREIGN_ID]) == {FOREIGN_ID}

    def test_transactions_do_not_nest(self, store: Store) -> None:
        with store.transaction() as transaction:
            with pytest.raises(StoreError), store.transaction():
                pass
            transaction.write(Changes(created=[an_instance("o-1")]))
        assert store.in_flight() == 1

    def test_writing_after_the_transaction_has_ended_is_refused(self, store: Store) -> None:
        with store.transaction() as transaction:
            pass
        with pytest.raises(TransactionEnded):
            transaction.write(Changes(created=[an_instance("o-1")]))
        assert store.instances(InstanceFilter()) == []

    def test_no_key_is_nobody_s(self, store: Store) -> None:
        write(store, Changes(created=[an_instance("o-1")]))
        assert store.instance("", "") is None
        assert store.instance("order", "") is None

    def test_nothing_to_write_is_written_without_complaint(self, store: Store) -> None:
        write(store, Changes())
        store.mark_published([], NOW_MS)
        assert store.counts() == {}

    # ------------------------------------------------------------------ what people ask

    def test_instances_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        created = [an_instance(f"o-{age}", age=age) for age in range(5)]
        write(store, Changes(created=created[::-1]))
        assert store.instances(InstanceFilter(count_max=3)) == created[:3]
        assert store.instances(InstanceFilter(count_max=3, before_id=created[2].id)) == created[3:]
        assert store.instances(InstanceFilter(count_max=0)) == []

    def test_instances_are_listed_by_saga_state_and_key(self, store: Store) -> None:
        done, open_, refund = (
            an_instance("o-1", state=COMPLETED),
            an_instance("o-2", age=1),
            an_instance("o-1", saga="refund", age=2),
        )
        write(store, Changes(created=[done, open_, refund]))
        assert store.instances(InstanceFilter(saga="order")) == [done, open_]
        assert store.instances(InstanceFilter(state="reserve.pending")) == [open_, refund]
        assert store.instances(InstanceFilter(key="o-1")) == [done, refund]
        assert store.instances(InstanceFilter(saga="order", state="reserve.pending", key="o-2")) == [open_]
        assert store.instances(InstanceFilter(state="reserve.pending", before_id=open_.id)) == [refund]

    def test_counts_are_by_state(self, store: Store) -> None:
        write(store, Changes(created=[an_instance("o-1"), an_instance("o-2"), an_instance("o-3", state=STUCK)]))
        assert store.counts() == {"reserve.pending": 2, STUCK: 1}

    def test_in_flight_is_what_is_neither_ended_nor_stuck(self, store: Store) -> None:
        live, to_end, to_stick = (an_instance(key) for key in ("o-1", "o-2", "o-3"))
        ended = [an_instance(s, state=s) for s in (COMPLETED, COMPENSATED, REJECTED, ABANDONED, STUCK)]
        write(store, Changes(created=[live, to_end, to_stick, *ended]))
        assert store.in_flight() == 3
        stuck, _ = a_step_later(to_stick, STUCK)
        write(store, Changes(updated=[a_step_later(to_end), a_step_later(to_stick, STUCK), a_step_later(live, "pay")]))
        assert store.in_flight() == 1
        write(store, Changes(updated=[a_step_later(stuck, "reserve.undoing")]))
        assert store.in_flight() == 2

    def test_closing_twice_does_nothing(self, store: Store) -> None:
        store.close()
        store.close()
