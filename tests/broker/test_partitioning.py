"""The partition of a key, against values computed by other implementations of XXH32."""

import pytest
import xxhash

from sagas.broker.partitioning import partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    [("key-1", 0x39636A09), ("a", 0x550D7456), ("user-1", 0xA43FB6AD), ("", 0x02CC5D05)],
)
@pytest.mark.parametrize("partitions", [1, 3, 7, 1000])
def test_the_partition_is_the_hash_modulo_the_number_of_partitions(key: str, hashed: int, partitions: int) -> None:
    assert partition_of(key, partitions) == hashed % partitions


def test_a_key_is_hashed_as_utf_8() -> None:
    assert partition_of("zażółć", 997) == xxhash.xxh32_intdigest("zażółć".encode(), 0) % 997


def test_keys_spread_evenly() -> None:
    counts = [0, 0, 0]
    for number in range(3000):
        counts[partition_of(f"order-{number}", 3)] += 1
    assert min(counts) > 900
