"""The headings of the event-driven guide, and for each: where it lives here, what shows it, what holds it."""

import msgspec

HEADINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Core Concepts", ("What is Event-Driven Architecture?", "Key Benefits", "Apache Iggy Overview")),
    (
        "Streams, Topics, and Partitions",
        ("Hierarchy", "Streams", "Topics", "Partitions", "Choosing Partition Count"),
    ),
    (
        "Message Flow Patterns",
        (
            "Pattern 1: Simple Pub/Sub",
            "Pattern 2: Competing Consumers (Work Queue)",
            "Pattern 3: Event Sourcing",
            "Pattern 4: CQRS (Command Query Responsibility Segregation)",
        ),
    ),
    (
        "Partition Keys and Ordering",
        ("The Ordering Problem", "Solution: Partition Keys", "Choosing Partition Keys", "Code Example"),
    ),
    (
        "Consumer Groups",
        (
            "What is a Consumer Group?",
            "Consumer Group Guarantees",
            "Creating a Consumer Group",
            "Scaling with Consumer Groups",
        ),
    ),
    (
        "Message Retention and Expiry",
        ("Retention Policies", "Retention Strategy by Use Case", "Example: Multi-Topic Retention"),
    ),
    (
        "Error Handling Strategies",
        ("At-Most-Once Delivery", "At-Least-Once Delivery", "Dead Letter Queue (DLQ)", "Idempotency"),
    ),
    (
        "Production Patterns",
        (
            "Pattern: Outbox for Reliable Publishing",
            "Pattern: Saga for Distributed Transactions",
            "Pattern: Event Versioning",
        ),
    ),
    ("Code Examples", ("Complete Producer Example", "Complete Consumer Example")),
    (
        "Quick Reference",
        ("CLI Commands", "HTTP API", "Environment Variables (iggy_sample)", "Observability URLs"),
    ),
    ("Further Reading", ()),
)
"""The guide's outline: its sections with what is in each."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One heading. `note` says what is to be known of it here; `files`, `commands` and `tests` exist, or a test fails.

    `missing` says what of it is not there, "" when nothing is.
    """

    note: str
    files: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    missing: str = ""
