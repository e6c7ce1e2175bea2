"""The rows of the table, by heading."""

from collections.abc import Mapping

from tests.guide.table import Row

CONTRACT = "tests/broker/test_contract_memory.py::TestMemoryBroker::"
DELIVERY = "tests/consumers/test_delivery.py::"
SCALING = "tests/services/test_scaling.py::test_the_command_scales_one_to_three_to_four_to_two_and_loses_nothing"
EXPIRY = "tests/broker/test_expiry.py::"
LOG = "tests/broker/test_log.py::"

ROWS: Mapping[str, Row] = {
    # ------------------------------------------------------------------ Core Concepts
    "What is Event-Driven Architecture?": Row(
        note="Services share topics and the classes in `services/contracts.py`, and none of them imports another.",
        files=("services/contracts.py", "README.md"),
        commands=("make demo",),
        tests=("tests/rules/test_arrows.py::test_a_service_never_sees_another_service",),
    ),
    "Key Benefits": Row(
        note="Consumers are added without a word to producers, and one that was away misses nothing.",
        files=("services/notifications/consumer.py", "services/up.py"),
        commands=("make up",),
        tests=(DELIVERY + "test_three_consumers_read_the_same_events_each_at_its_own_place",),
    ),
    "Apache Iggy Overview": Row(
        note="The real `apache-iggy` client is always the one in use; the embedded broker speaks Iggy's TCP protocol. "
        "QUIC, HTTP and WebSocket are not used.",
        files=("sagas/broker/iggy.py", "sagas/broker/embedded/server.py"),
        commands=("sagas broker",),
        tests=("tests/wire/test_real_client.py::test_messages_come_back_with_headers_ids_and_times",),
    ),
    # ------------------------------------------------------------------ Streams, Topics, and Partitions
    "Hierarchy": Row(
        note="Streams hold topics, topics hold partitions and groups, a partition is a row of batches.",
        files=("sagas/broker/log.py", "sagas/broker/topic.py", "sagas/broker/partition.py"),
        commands=("sagas broker",),
        tests=(LOG + "test_offsets_count_messages_and_not_batches",),
    ),
    "Streams": Row(
        note="One stream for each installation, `IGGY_STREAM`; the demo's is `ecommerce`, as in the guide.",
        files=("sagas/config.py", "services/contracts.py"),
        commands=("sagas config",),
        tests=("tests/cli/test_settings.py::test_what_is_not_set_has_its_default",),
    ),
    "Topics": Row(
        note="Two for each participant: `inventory-commands` and its events in `inventory`. Topics are made on the "
        "first start, with 7 days of retention.",
        files=("sagas/core/participants.py", "sagas/runtime/orchestrator.py", "sagas/records.py"),
        commands=("make up",),
        tests=(CONTRACT + "test_ensuring_twice_changes_nothing",),
    ),
    "Partitions": Row(
        note="Parallel lanes, never categories: an order's partition comes from its key, whatever its state.",
        files=("sagas/broker/partitioning.py",),
        commands=("make scaling",),
        tests=("tests/broker/test_partitioning.py::test_keys_spread_evenly",),
    ),
    "Choosing Partition Count": Row(
        note="`IGGY_PARTITIONS`, 3 unless said otherwise; the audit log has one, as in the guide.",
        files=("sagas/config.py", "services/auditlog/consumer.py"),
        commands=("sagas config",),
        tests=(CONTRACT + "test_a_topic_that_exists_is_taken_with_the_partitions_it_has",),
    ),
    # ------------------------------------------------------------------ Message Flow Patterns
    "Pattern 1: Simple Pub/Sub": Row(
        note="Notifications, analytics and an audit log read the same events, each with offsets of its own.",
        files=(
            "services/notifications/consumer.py",
            "services/analytics/consumer.py",
            "services/auditlog/consumer.py",
        ),
        commands=("make up",),
        tests=(
            DELIVERY + "test_three_consumers_read_the_same_events_each_at_its_own_place",
            CONTRACT + "test_groups_do_not_know_of_each_other",
        ),
    ),
    "Pattern 2: Competing Consumers (Work Queue)": Row(
        note="A group of worker processes on three partitions, at four sizes, while messages flow.",
        files=("services/scaling.py", "services/scaling_worker.py", "sagas/broker/groups.py"),
        commands=("make scaling",),
        tests=(SCALING, CONTRACT + "test_two_members_share_the_partitions_and_each_message_goes_to_one"),
    ),
    "Pattern 3: Event Sourcing": Row(
        note="What an instance is follows from its journal. Each row goes to the topic `event-store`, which never "
        "expires; "
        "`sagas verify --from-topic` builds every instance again from that topic alone.",
        files=("sagas/runtime/event_store.py", "sagas/store/feed.py", "sagas/runtime/verification.py"),
        commands=("sagas verify", "sagas show"),
        tests=(
            ""
            "tests/runtime/test_event_store.py::test_a_crash_anywhere_repeats_rows_in_their_order_and_never_leaves_a_gap",
            "tests/cli/test_verify.py::test_the_topic_gives_the_stored_instances_without_their_journal",
            "tests/cli/test_verify.py::test_an_instance_is_shown_as_it_was_after_so_many_entries",
        ),
    ),
    "Pattern 4: CQRS (Command Query Responsibility Segregation)": Row(
        note="Write side: the storefront commits an order with its event. Read side: a projector folds events "
        "into a read "
        "model of its own, which serves the queries and can be built anew while the system runs.",
        files=(
            "services/storefront/desk.py",
            "services/projector/projection.py",
            "services/readmodel/reader.py",
            "sagas/runtime/projection.py",
        ),
        commands=("make up", "make rebuild"),
        tests=(
            "tests/storefront/test_placing.py::"
            "test_an_order_is_accepted_with_its_address_and_published_as_the_event_that_starts_its_saga",
            "tests/projector/test_read_model.py::"
            "test_any_order_between_topics_and_any_repetition_make_the_same_read_model",
            "tests/storefront/test_reading.py::test_a_rebuilt_read_model_is_read_as_soon_as_it_is_current",
        ),
    ),
    # ------------------------------------------------------------------ Partition Keys and Ordering
    "The Ordering Problem": Row(
        note="Between partitions there is no order. The kernel tells late, early and duplicate apart, so none is "
        "needed.",
        files=("sagas/core/kernel.py",),
        commands=("make races",),
        tests=("tests/runtime/test_world.py::test_orders_of_every_kind_end_as_they_should",),
    ),
    "Solution: Partition Keys": Row(
        note="XXH32 of the key, seed 0, modulo the partitions: Iggy's own rule.",
        files=("sagas/broker/partitioning.py",),
        commands=("make demo",),
        tests=(
            CONTRACT + "test_the_partition_is_chosen_by_key_and_keeps_the_order_of_publishing",
            "tests/broker/test_partitioning.py::test_the_partition_is_the_hash_modulo_the_number_of_partitions",
        ),
    ),
    "Choosing Partition Keys": Row(
        note='The business key: `Participant("orders", key="order_id")` says which field it is.',
        files=("sagas/core/participants.py", "services/contracts.py"),
        commands=("make demo",),
        tests=(
            ""
            "tests/runtime/test_event_store.py::test_the_topic_never_expires_and_the_business_key_chooses_the_partition",
        ),
    ),
    "Code Example": Row(
        note="All events of an order are published under its id, by its outbox.",
        files=("sagas/runtime/relay.py", "services/storefront/desk.py"),
        commands=("make demo",),
        tests=(CONTRACT + "test_more_messages_than_one_request_takes_arrive_in_order",),
    ),
    # ------------------------------------------------------------------ Consumer Groups
    "What is a Consumer Group?": Row(
        note="Every process is a member of the group of its name; several orchestrators share one.",
        files=("sagas/broker/iggy_subscription.py", "sagas/broker/groups.py"),
        commands=("make scaling",),
        tests=(LOG + "test_one_member_reads_everything_and_joining_twice_changes_nothing",),
    ),
    "Consumer Group Guarantees": Row(
        note='Exclusive partitions, rebalancing, stored offsets. "No duplicates" holds within a group until somebody '
        "dies: then a batch comes again, and `processed_events` ends it.",
        files=("sagas/broker/groups.py", "services/scaling_proof.py"),
        commands=("make scaling",),
        tests=(
            SCALING,
            LOG + "test_only_the_owner_commits_for_a_group",
            CONTRACT + "test_a_member_that_leaves_hands_over_what_it_has_not_committed",
        ),
    ),
    "Creating a Consumer Group": Row(
        note="Made by whoever subscribes first. Auto-commit, which the guide's example has, is never used: it stores "
        "offsets before the work.",
        files=("sagas/broker/iggy_subscription.py",),
        commands=("make up",),
        tests=(CONTRACT + "test_several_processes_may_ensure_and_join_at_the_same_time",),
    ),
    "Scaling with Consumer Groups": Row(
        note="1, 3, 4 and 2 workers: the fourth idles, one leaves and one dies with its batch done and its offset "
        "not stored.",
        files=("services/scaling.py",),
        commands=("make scaling",),
        tests=(SCALING, LOG + "test_a_member_more_than_partitions_waits_for_one_to_become_free"),
    ),
    # ------------------------------------------------------------------ Message Retention and Expiry
    "Retention Policies": Row(
        note="`TopicSpec(expiry_s=…)`: seconds, 0 for ever, None for the server's default. The embedded broker "
        "expires what "
        "Iggy would: whole segments, never the one that is written to.",
        files=("sagas/records.py", "sagas/broker/partition.py", "sagas/broker/embedded/segments.py"),
        commands=("sagas broker",),
        tests=(
            EXPIRY + "test_a_topic_keeps_its_messages_for_as_long_as_it_was_made_for",
            "tests/wire/test_real_client.py::test_what_expires_is_gone_and_readers_go_on_behind_it",
        ),
    ),
    "Retention Strategy by Use Case": Row(
        note="7 days for commands and events, 365 for the audit log, for ever for the event store. A reader that "
        "was away for "
        "longer goes on behind what expired, and every saga still ends.",
        files=("sagas/records.py",),
        commands=("make up",),
        tests=(
            EXPIRY + "test_topics_are_transient_unless_they_say_otherwise_and_repeats_are_known_for_longer",
            "tests/runtime/test_lost_messages.py::"
            "test_a_reader_that_was_away_until_its_messages_expired_still_has_every_saga_ended",
        ),
    ),
    "Example: Multi-Topic Retention": Row(
        note="`audit-log` and `event-store` as in the guide; `tasks` of `make scaling` has the server's default.",
        files=("services/auditlog/consumer.py", "sagas/runtime/event_store.py", "services/scaling.py"),
        commands=("make up", "make scaling"),
        tests=(
            DELIVERY + "test_the_audit_log_keeps_every_event_as_it_came_for_a_year",
            ""
            "tests/runtime/test_event_store.py::test_the_topic_never_expires_and_the_business_key_chooses_the_partition",
        ),
    ),
    # ------------------------------------------------------------------ Error Handling Strategies
    "At-Most-Once Delivery": Row(
        note='`Consumer(…, delivery="at-most-once")` stores offsets before the work. Analytics does.',
        files=("sagas/runtime/worker.py", "services/analytics/consumer.py"),
        commands=("make up",),
        tests=(
            DELIVERY + "test_a_crash_costs_at_most_once_what_it_had_read_and_at_least_once_only_a_repeat",
            DELIVERY + "test_at_most_once_never_sees_an_event_twice_and_remembers_none",
        ),
    ),
    "At-Least-Once Delivery": Row(
        note="Offsets are stored after the commit. Sagas, participants, notifications and the audit log.",
        files=("sagas/runtime/worker.py", "services/notifications/consumer.py"),
        commands=("make up", "make chaos"),
        tests=(
            DELIVERY + "test_a_crash_costs_at_most_once_what_it_had_read_and_at_least_once_only_a_repeat",
            CONTRACT + "test_what_was_polled_but_not_committed_is_read_again_after_a_rewind",
        ),
    ),
    "Dead Letter Queue (DLQ)": Row(
        note="A table in each process's database and the topic `dead-letters`; `retry-count`, three times, as in "
        "the guide. A consumer's or projection's handler that raises is tried three times more in its place.",
        files=("sagas/runtime/dead_letters.py", "sagas/cli/dlq.py"),
        commands=("sagas dlq",),
        tests=(
            "tests/runtime/test_dead_letters.py::"
            "test_a_message_the_engine_fails_on_is_tried_again_three_times_and_the_others_go_on",
            "tests/cli/test_dlq.py::test_a_requeued_letter_goes_out_as_it_came_under_an_id_of_its_own",
        ),
    ),
    "Idempotency": Row(
        note="`processed_events` (event_id, processed_at, event_type) in one transaction with the change, "
        "forgotten in small "
        "steps after 30 days; commands have the barrier besides, which keeps the answer.",
        files=("sagas/runtime/consumer.py", "sagas/runtime/participant.py", "sagas/store/schema.py"),
        commands=("make conformance",),
        tests=(
            DELIVERY + "test_what_was_processed_is_noted_with_its_time_and_type_in_the_transaction_of_the_change",
            DELIVERY + "test_old_ids_are_forgotten_in_small_steps_and_never_before_their_time",
        ),
    ),
    # ------------------------------------------------------------------ Production Patterns
    "Pattern: Outbox for Reliable Publishing": Row(
        note="The guide's columns, and where a row goes; looked at every 100 ms, as in the guide. Its batch of 100 is "
        "`SAGAS_OUTBOX_BATCH=100`; 1,000 unless set otherwise, as measured. From a program of yours: "
        "`docs/participants.md`.",
        files=("sagas/runtime/relay.py", "sagas/store/outbox.py", "docs/participants.md"),
        commands=("make up",),
        tests=(
            DELIVERY + "test_the_audit_log_keeps_every_event_as_it_came_for_a_year",
            "tests/guide/test_guide.py::test_the_outbox_has_the_guides_columns_and_pace",
        ),
    ),
    "Pattern: Saga for Distributed Transactions": Row(
        note="The whole project. The guide's order saga is in `services/orders/saga.py`.",
        files=("services/orders/saga.py", "sagas/core/kernel.py", "diagrams/order.mmd"),
        commands=("make demo", "sagas show", "sagas diagram"),
        tests=("tests/runtime/test_world.py::test_orders_of_every_kind_end_as_they_should",),
    ),
    "Pattern: Event Versioning": Row(
        note="`@upcast(OrderCreated, from_version=1)`: old shapes are raised to today's before anybody reads "
        "them. Both releases "
        "of a producer at once, and each total to the cent.",
        files=("sagas/core/upcasting.py", "services/contracts.py", "services/producers.py"),
        commands=("make producers",),
        tests=(
            "tests/services/test_producers.py::test_orders_of_both_versions_are_carried_out_side_by_side",
            "tests/core/test_message_versions.py::test_the_guides_order_of_version_one_is_read_exactly_and_in_dollars",
        ),
    ),
    # ------------------------------------------------------------------ Code Examples
    "Complete Producer Example": Row(
        note="The guide's order, byte for byte as its Rust code writes it, starts a saga.",
        files=("services/stories.py", "sagas/cli/start.py"),
        commands=("sagas start", "make demo"),
        tests=("tests/runtime/test_message_versions.py::test_an_order_of_version_one_is_carried_out_to_the_cent",),
    ),
    "Complete Consumer Example": Row(
        note="A consumer is a handler and the topics it reads; `host_consumer` is its process.",
        files=("services/notifications/consumer.py", "sagas/hosting.py"),
        commands=("make up",),
        tests=(DELIVERY + "test_a_message_that_cannot_be_read_is_kept_and_its_partition_goes_on",),
    ),
    # ------------------------------------------------------------------ Quick Reference
    "CLI Commands": Row(
        note="Iggy's own program works against either broker for messages over TCP; ours looks at sagas.",
        files=("docs/cli.md", "sagas/cli/main.py"),
        commands=("sagas list",),
        tests=("tests/wire/test_real_client.py::test_refusals_read_as_those_of_iggy",),
    ),
    "HTTP API": Row(
        note="Orders are placed over the storefront's HTTP. Iggy's HTTP API is the real server's; the embedded "
        "broker has none.",
        files=("services/storefront/app.py", "services/storefront/orders_api.py"),
        commands=("make up",),
        tests=(
            "tests/storefront/test_placing.py::"
            "test_the_same_request_under_the_same_key_is_given_the_same_answer_and_places_one_order",
        ),
    ),
    "Environment Variables (iggy_sample)": Row(
        note="All of them, checked; a name that is written wrong is refused with the one that was meant.",
        files=("sagas/config.py", "docs/settings.md"),
        commands=("sagas config",),
        tests=(
            ""
            "tests/cli/test_settings.py::test_every_setting_refuses_nonsense_with_its_name_the_value_and_what_was_expected",
        ),
    ),
    "Observability URLs": Row(
        note="`compose.yaml` publishes the storefront (8000), Iggy's HTTP API (3000) and web UI (3050), Prometheus "
        "(9090) and Grafana (3001) with a dashboard; every process has `/metrics` and health endpoints where asked.",
        files=("compose.yaml", "docs/deploy.md", "deploy/prometheus/prometheus.yaml", "services/storefront/health.py"),
        commands=("make up", "make alerts"),
        tests=("tests/deploy/test_deploy.py", "tests/storefront/test_parts.py"),
    ),
    "Further Reading": Row(
        note="Why the parts are as they are, decision by decision.",
        files=("DESIGN.md", "CONTRIBUTING.md"),
        commands=("make help",),
        tests=("tests/rules/test_readme.py",),
    ),
}
