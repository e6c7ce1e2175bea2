"""How much memory processes use, read from /proc, and whether that stays flat. Elsewhere nothing is measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

GROWTH_MAX = 1.25
"""Of the last third over the first, beside `SLACK_KIB`: what comes above it is a leak or something that grows."""

SLACK_KIB = 8_192

SAMPLES_MIN = 30
"""Fewer samples of a process say nothing about it."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What a process used at the median in the first and in the last third of its samples, and at most, in KiB."""

    name: str
    first_kib: int
    last_kib: int
    most_kib: int
    samples: int

    @property
    def is_flat(self) -> bool:
        """Whether it did not grow, as far as the samples can say."""
        return self.samples < SAMPLES_MIN or self.last_kib <= self.first_kib * GROWTH_MAX + SLACK_KIB

    def __str__(self) -> str:
        return f"{self.name} {self.first_kib / 1024:.0f} → {self.last_kib / 1024:.0f} MiB"


def resident_kib(pid: int) -> int | None:
    """What the process has in memory, None when it has ended or the system does not say."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), "")
    return int(line.split()[1]) if line else None


def growth_of(samples: Mapping[str, Sequence[int]]) -> list[Growth]:
    """For each process that was measured, from its samples in the order of time."""
    grown: list[Growth] = []
    for name, found in samples.items():
        third = max(1, len(found) // 3)
        if found:
            grown.append(
                Growth(
                    name=name,
                    first_kib=int(median(found[:third])),
                    last_kib=int(median(found[-third:])),
                    most_kib=max(found),
                    samples=len(found),
                )
            )
    return grown
