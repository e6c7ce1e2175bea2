"""The pure log: offsets, polling, stored offsets, groups and how their partitions change hands."""

import pytest

from sagas.broker.groups import REBALANCING_TIMEOUT_MS
from sagas.broker.log import (
    FIRST,
    LAST,
    NEXT,
    Assignment,
    Group,
    Log,
    Membership,
    Refusal,
    Single,
    Span,
    Start,
    Status,
    Strategy,
    Topic,
)

NOW_MS = 1_000
ANN, BOB, CYD = 1, 2, 3


def topic_of(partitions: int = 4) -> Topic[str]:
    log = Log[str]()
    log.create_stream("shop", 0)
    return log.create_topic("shop", "orders", partitions, 0)


def filled(topic: Topic[str], partition: int, *batches: int) -> None:
    for count in batches:
        base = topic.partitions[partition].end
        topic.partitions[partition].append(f"{partition}:{base}", count=count, size=10 * count, now_us=base)


def read(topic: Topic[str], group: Group, member: int, partition: int, *, now_ms: int = NOW_MS) -> Span[str] | None:
    return topic.poll(partition, Membership(group, member), NEXT, count=100, now_ms=now_ms)


def group_of(topic: Topic[str], *members: int) -> Group:
    group = topic.create_group("workers")
    for member in members:
        group.join(member, NOW_MS)
    return group


def owned(group: Group, now_ms: int = NOW_MS) -> list[list[int]]:
    return [sorted(partitions) for _, partitions in group.roster(now_ms)]


def refused(status: Status) -> "pytest.RaisesExc[Refusal]":
    return pytest.RaisesExc(Refusal, check=lambda refusal: refusal.status is status)


# --------------------------------------------------------------------------- what there is


def test_ids_of_streams_are_the_lowest_free_ones() -> None:
    log = Log[str]()
    assert [log.create_stream(name, 0).id for name in ("a", "b", "c")] == [0, 1, 2]
    log.delete_stream("b")
    assert log.create_stream("d", 0).id == 1


def test_a_name_that_is_taken_is_refused() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    log.create_topic("shop", "orders", 1, 0).create_group("workers")
    with refused(Status.STREAM_EXISTS):
        log.create_stream("shop", 0)
    with refused(Status.TOPIC_EXISTS):
        log.create_topic(0, "orders", 1, 0)
    with refused(Status.GROUP_EXISTS):
        log.topic("shop", "orders").create_group("workers")


def test_what_does_not_exist_is_refused_with_the_status_of_the_call() -> None:
    log = Log[str]()
    with refused(Status.STREAM_NOT_FOUND):
        log.create_topic("shop", "orders", 1, 0)
    with refused(Status.TOPIC_NOT_FOUND):
        log.topic("shop", "orders")
    with refused(Status.RESOURCE_NOT_FOUND):
        log.topic("shop", "orders", Status.RESOURCE_NOT_FOUND)
    with refused(Status.PARTITION_NOT_FOUND):
        topic_of(1).poll(1, Single(1), FIRST, count=1, now_ms=NOW_MS)
    with refused(Status.TOO_MANY_PARTITIONS):
        topic_of(1001)


def test_a_group_that_is_made_again_has_a_new_id_and_no_offsets() -> None:
    topic = topic_of(1)
    filled(topic, 0, 5)
    group = group_of(topic, ANN)
    topic.store_offset(0, Membership(group, ANN), 4, NOW_MS)
    topic.delete_group("workers")
    again = topic.create_group("workers")
    assert (again.id, topic.stored_offset(0, again)) == (1, None)


def test_a_topic_made_again_never_has_the_epoch_of_an_older_one() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    first = log.create_topic("shop", "orders", 1, 0).partitions[0].epoch
    log.delete_topic("shop", "orders")
    second = log.create_topic("shop", "orders", 1, 0).partitions[0].epoch
    third = log.purge_topic("shop", "orders").partitions[0].epoch
    assert first < second < third


def test_a_name_that_is_given_again_is_the_new_ones() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    old = log.create_topic("shop", "orders", 1, 0)
    assert log.find_topic("shop", "orders") is log.find_topic(0, 0) is old
    log.delete_topic("shop", "orders")
    assert log.find_topic("shop", "orders") is None
    new = log.create_topic("shop", "orders", 1, 0)
    assert log.find_topic("shop", "orders") is log.find_topic(0, 0) is new
    log.delete_stream("shop")
    assert log.find_topic("shop", "orders") is log.find_topic(0, 0) is None


def test_purging_removes_messages_offsets_and_members_but_not_groups() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    topic = log.create_topic("shop", "orders", 1, 0)
    filled(topic, 0, 3)
    group = group_of(topic, ANN)
    topic.store_offset(0, Membership(group, ANN), 2, NOW_MS)
    topic.store_offset(0, Single(7), 2, NOW_MS)
    log.purge_topic("shop", "orders")
    assert topic.partitions[0].end == 0
    assert topic.offsets() == []
    # Who is a member knows where it stands, among messages that are gone: it has to join again and begin anew.
    assert topic.group("workers") is group
    assert not group.has(ANN)


def test_a_topic_that_grows_is_dealt_out_anew_and_one_that_shrinks_is_joined_anew() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    topic = log.create_topic("shop", "orders", 2, 0)
    group = group_of(topic, ANN, BOB)
    log.create_partitions("shop", "orders", 3, 0)
    assert owned(group) == [[0, 2, 4], [1, 3]]
    log.delete_partitions("shop", "orders", 4)
    # A partition that is made again begins at 0, and who owned the one before may not have noticed.
    assert not group.slots
    group.join(BOB, NOW_MS)
    assert owned(group) == [[0]]


# --------------------------------------------------------------------------- messages


def test_offsets_count_messages_and_not_batches() -> None:
    partition = topic_of(1).partitions[0]
    assert [partition.append("x", count=count, size=1, now_us=0) for count in (3, 1, 2)] == [0, 3, 4]
    assert (partition.end, partition.current_offset) == (6, 5)


def test_time_does_not_go_back_within_a_partition() -> None:
    topic = topic_of(1)
    partition = topic.partitions[0]
    partition.append("later", count=1, size=1, now_us=100)
    assert partition.stamp(50) == 100
    partition.append("earlier", count=1, size=1, now_us=50)
    span = partition.span(0, 10)
    assert span is not None
    assert list(span.timestamps_us) == [100, 100]


def test_a_poll_names_the_batches_and_what_of_them_is_outside() -> None:
    topic = topic_of(1)
    filled(topic, 0, 5, 5, 5)
    span = topic.partitions[0].span(3, 8)
    assert span is not None
    assert (span.first, span.last, span.count) == (3, 10, 8)
    assert (span.bodies, list(span.bases)) == (["0:0", "0:5", "0:10"], [0, 5, 10])
    assert (span.skip, span.surplus) == (3, 4)
    assert (span.position, span.tail_position, span.size) == (0, 100, 150)


def test_a_poll_of_bounded_size_ends_with_the_batch_that_is_enough_and_fits() -> None:
    topic = topic_of(1)
    filled(topic, 0, 5, 5, 5)
    spans = [topic.partitions[0].span(2, 100, enough, 1_000) for enough in (1, 50, 51, 100, 101, 150)]
    assert [span.last if span else None for span in spans] == [4, 4, 9, 9, 14, 14]
    spans = [topic.partitions[0].span(2, 100, 49, at_most) for at_most in (49, 50, 99, 100)]
    assert [span.last if span else None for span in spans] == [None, 4, 4, 4]
    spans = [topic.partitions[0].span(2, 100, 51, at_most) for at_most in (51, 99, 100, 149)]
    assert [span.last if span else None for span in spans] == [4, 4, 9, 9]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (FIRST, 0),
        (LAST, 12),
        (NEXT, 0),
        (Start(Strategy.OFFSET, 7), 7),
        (Start(Strategy.OFFSET, 15), None),
        (Start(Strategy.TIMESTAMP, 5), 5),
        (Start(Strategy.TIMESTAMP, 6), 10),
        (Start(Strategy.TIMESTAMP, 11), None),
    ],
)
def test_each_strategy_starts_where_it_says(start: Start, first: int | None) -> None:
    topic = topic_of(1)
    filled(topic, 0, 5, 5, 5)
    span = topic.poll(0, Single(1), start, count=3, now_ms=NOW_MS)
    assert (span and span.first) == first


# --------------------------------------------------------------------------- stored offsets


def test_next_goes_on_after_the_stored_offset_and_repeats_without_one() -> None:
    topic = topic_of(1)
    filled(topic, 0, 5)
    for auto_commit, first in ((False, 0), (True, 0), (True, 3)):
        span = topic.poll(0, Single(1), NEXT, count=3, now_ms=NOW_MS, auto_commit=auto_commit)
        assert span is not None
        assert span.first == first
    assert topic.poll(0, Single(1), NEXT, count=3, now_ms=NOW_MS) is None
    assert (topic.stored_offset(0, Single(1)), topic.stored_offset(0, Single(2))) == (4, None)


def test_an_offset_may_go_back_but_not_beyond_the_end() -> None:
    topic = topic_of(1)
    with refused(Status.INVALID_OFFSET):
        topic.store_offset(0, Single(1), 0, NOW_MS)
    filled(topic, 0, 5)
    topic.store_offset(0, Single(1), 4, NOW_MS)
    topic.store_offset(0, Single(1), 1, NOW_MS)
    with refused(Status.INVALID_OFFSET):
        topic.store_offset(0, Single(1), 5, NOW_MS)
    assert topic.stored_offset(0, Single(1)) == 1


def test_a_deleted_offset_is_gone_and_cannot_be_deleted_twice() -> None:
    topic = topic_of(1)
    filled(topic, 0, 5)
    topic.store_offset(0, Single(1), 4, NOW_MS)
    topic.delete_offset(0, Single(1))
    assert topic.stored_offset(0, Single(1)) is None
    with refused(Status.OFFSET_NOT_FOUND):
        topic.delete_offset(0, Single(1))


def test_a_restored_offset_beyond_the_end_is_pulled_back() -> None:
    topic = topic_of(2)
    filled(topic, 0, 5)
    topic.restore_offset(0, Single(1), 9)
    topic.restore_offset(0, topic.create_group("workers"), 9)
    topic.restore_offset(0, topic.create_group("auditors"), 3)
    topic.restore_offset(1, Single(1), 0)
    assert [(partition, offset) for partition, _, offset in topic.offsets()] == [(0, 4), (0, 4), (0, 3)]


# --------------------------------------------------------------------------- groups


def test_one_member_reads_everything_and_joining_twice_changes_nothing() -> None:
    group = group_of(topic_of(), ANN)
    before = group.sync(ANN, NOW_MS)
    group.join(ANN, NOW_MS)
    assert before == group.sync(ANN, NOW_MS) == Assignment(1, (0, 1, 2, 3))


def test_a_stranger_gets_no_assignment_and_cannot_leave() -> None:
    group = group_of(topic_of(), ANN)
    assert group.sync(BOB, NOW_MS) is None
    with refused(Status.NOT_A_MEMBER):
        group.leave(BOB)


def test_a_second_member_gets_the_highest_partitions() -> None:
    group = group_of(topic_of(), ANN, BOB)
    assert owned(group) == [[0, 1], [2, 3]]


def test_uneven_shares_leave_nobody_without_a_partition() -> None:
    assert owned(group_of(topic_of(), ANN, BOB, CYD)) == [[0, 1], [3], [2]]


def test_a_member_more_than_partitions_waits_for_one_to_become_free() -> None:
    group = group_of(topic_of(1), ANN, BOB)
    assert owned(group) == [[0], []]
    assert group.sync(BOB, NOW_MS) == Assignment(2, ())
    group.leave(ANN)
    assert owned(group) == [[0]]


def test_leaving_deals_all_partitions_in_turn_and_frees_the_slot() -> None:
    group = group_of(topic_of(), ANN, BOB, CYD)
    group.leave(ANN)
    assert group.roster(NOW_MS) == [(1, (0, 2)), (2, (1, 3))]
    group.join(ANN, NOW_MS)
    assert [slot for slot, _ in group.roster(NOW_MS)] == [0, 1, 2]


def test_each_change_of_the_members_counts_the_generation_up() -> None:
    group = group_of(topic_of(), ANN, BOB)
    group.leave(BOB)
    group.join(BOB, NOW_MS)
    assert group.generation == 4


def test_a_partition_in_flight_stays_with_its_reader_until_the_commit() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    assert read(topic, group, ANN, 1) is not None
    group.join(BOB, NOW_MS)
    assert owned(group) == [[0, 1], []]
    assert group.sync(BOB, NOW_MS) == Assignment(2, ())
    topic.store_offset(1, Membership(group, ANN), 1, NOW_MS)
    assert owned(group) == [[0, 1], []], "one message is still under way"
    topic.store_offset(1, Membership(group, ANN), 2, NOW_MS)
    assert owned(group) == [[0], [1]]
    assert group.sync(BOB, NOW_MS) == Assignment(3, (1,))


def test_a_marked_partition_is_not_read_by_its_source_any_more() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    read(topic, group, ANN, 1)
    group.join(BOB, NOW_MS)
    assert group.sync(ANN, NOW_MS) == Assignment(2, (0,))
    for member in (ANN, BOB):
        with refused(Status.PARTITION_NOT_OWNED):
            read(topic, group, member, 1)


def test_a_marked_partition_moves_without_a_commit_after_the_timeout() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    read(topic, group, ANN, 1)
    group.join(BOB, NOW_MS)
    assert owned(group, NOW_MS + REBALANCING_TIMEOUT_MS - 1) == [[0, 1], []]
    assert owned(group, NOW_MS + REBALANCING_TIMEOUT_MS) == [[0], [1]]


def test_a_clock_that_is_set_back_holds_up_no_marked_partition() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    read(topic, group, ANN, 1)
    group.join(BOB, NOW_MS)
    assert owned(group, NOW_MS - REBALANCING_TIMEOUT_MS + 1) == [[0, 1], []]
    assert owned(group, NOW_MS - REBALANCING_TIMEOUT_MS) == [[0], [1]]


def test_a_member_that_waits_for_marked_partitions_is_promised_no_more() -> None:
    topic = topic_of(6)
    group = group_of(topic, ANN)
    for partition in range(6):
        filled(topic, partition, 1)
        read(topic, group, ANN, partition)
    group.join(BOB, NOW_MS)
    group.join(CYD, NOW_MS)
    assert owned(group) == [[0, 1, 2, 3, 4, 5], [], []]
    for partition in range(6):
        topic.store_offset(partition, Membership(group, ANN), 0, NOW_MS)
    assert owned(group) == [[0, 1], [3, 4, 5], [2]]


def test_leaving_drops_the_marks_and_what_was_in_flight_is_read_again() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    read(topic, group, ANN, 1)
    group.join(BOB, NOW_MS)
    group.leave(ANN)
    assert owned(group) == [[0, 1]]
    span = read(topic, group, BOB, 1)
    assert span is not None
    assert (span.first, span.last) == (0, 2)


def test_what_a_dead_member_left_in_flight_is_nobodys_and_moves_at_once() -> None:
    topic = topic_of(2)
    filled(topic, 1, 3)
    group = group_of(topic, ANN)
    read(topic, group, ANN, 1)
    group.leave(ANN)
    group.join(BOB, NOW_MS)
    group.join(CYD, NOW_MS)
    assert owned(group) == [[0], [1]]


def test_only_the_owner_commits_for_a_group() -> None:
    topic = topic_of(2)
    filled(topic, 0, 3)
    group = group_of(topic, ANN, BOB)
    topic.store_offset(0, Membership(group, ANN), 0, NOW_MS)
    for stranger in (BOB, CYD):
        with refused(Status.RESOURCE_NOT_FOUND):
            topic.store_offset(0, Membership(group, stranger), 1, NOW_MS)
    assert topic.stored_offset(0, group) == 0


def test_a_connection_that_ends_leaves_all_its_groups() -> None:
    log = Log[str]()
    log.create_stream("shop", 0)
    groups = [log.create_topic("shop", name, 2, 0).create_group("workers") for name in ("orders", "bills")]
    for group in groups:
        group.join(ANN, NOW_MS)
        group.join(BOB, NOW_MS)
    assert log.is_member(ANN)
    log.leave_all(ANN)
    assert not log.is_member(ANN)
    assert [owned(group) for group in groups] == [[[0, 1]], [[0, 1]]]


def test_the_same_changes_give_the_same_ids_and_epochs() -> None:
    def ids() -> list[tuple[int, int, int, int]]:
        log = Log[str]()
        for name in ("a", "b"):
            log.create_stream(name, 0)
            log.create_topic(name, "t", 2, 0)
        log.delete_stream("a")
        log.create_stream("c", 0)
        log.create_topic("c", "t", 1, 0)
        return [
            (stream.id, topic.id, partition.epoch, partition.id)
            for stream in log.streams.values()
            for topic in stream.topics.values()
            for partition in topic.partitions
        ]

    assert ids() == ids() == [(1, 0, 4, 0), (1, 0, 4, 1), (0, 0, 7, 0)]
