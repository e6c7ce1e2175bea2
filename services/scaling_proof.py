"""What `services.scaling` calls settled, and what it calls right."""

from collections.abc import Mapping, Sequence

import msgspec

PARTITIONS = 3


class Handled(msgspec.Struct, frozen=True, array_like=True):
    """A row of the workers' table, in the order of the commits."""

    message_id: str
    task: str
    number: int
    worker: str
    partition: int


def disagreement(members: Sequence[tuple[int, ...]], owned: Mapping[str, tuple[int, ...]], workers: int) -> str:
    """Why the broker and the workers do not tell of one group that is dealt out evenly, "" when they do."""
    if not len(members) == len(owned) == workers:
        return f"{len(members)} members and {len(owned)} workers that know their partitions, of {workers}"
    if sorted(members) != sorted(owned.values()):
        return f"the broker says {sorted(members)}, the workers {sorted(owned.values())}"
    if sorted(partition for partitions in members for partition in partitions) != list(range(PARTITIONS)):
        return f"not each partition has one owner: {sorted(members)}"
    sizes = [len(partitions) for partitions in members]
    return f"not dealt out evenly: {sorted(members)}" if max(sizes) - min(sizes) > 1 else ""


def judge(published: Sequence[str], rows: Sequence[Handled]) -> list[str]:
    """What is wrong with what was handled, [] for nothing."""
    problems: list[str] = []
    times: dict[str, int] = {}
    last: dict[str, int] = {}
    for row in rows:
        times[row.message_id] = times.get(row.message_id, 0) + 1
        if row.number <= last.get(row.task, -1):
            problems.append(f"{row.task}: number {row.number} was handled after {last[row.task]}")
        last[row.task] = row.number
    problems += [f"{message_id} was handled {count} times" for message_id, count in times.items() if count > 1]
    problems += [f"{message_id} was never handled" for message_id in published if message_id not in times]
    known = set(published)
    problems += [f"{message_id} was handled and never published" for message_id in times if message_id not in known]
    return problems
