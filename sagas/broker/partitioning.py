"""Which partition a key belongs to.

The rule is the client's own for keyed sends (XXH32 with seed 0, modulo the number of partitions),
computed here so that every adapter and every other program that publishes by key agrees on it: all
messages of one business key lie in one partition, in order.
"""

import xxhash


def partition_of(key: str, partitions: int) -> int:
    """The partition, counted from 0, of `key` in a topic of `partitions` partitions (1 or more)."""
    return xxhash.xxh32_intdigest(key.encode(), 0) % partitions
