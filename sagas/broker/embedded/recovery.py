"""What partitions hold when the broker starts: what is in their files, and what these lost and the recent ones have."""

import logging
from collections.abc import Mapping

from sagas.broker.batches import read_header
from sagas.broker.embedded.recent import RecentFiles
from sagas.broker.embedded.segments import Behind, PartitionFiles
from sagas.broker.embedded.torn import keep_aside
from sagas.broker.log import Partition
from sagas.errors import BrokerError

Homes = Mapping[tuple[int, int], tuple[Partition[None], PartitionFiles]]
"""Each partition, by epoch and id, and its files."""

logger = logging.getLogger(__name__)


def recover(homes: Homes, recent: RecentFiles) -> None:
    """Read the partitions; cut off what a power cut has torn, and append what the recent files have of it.

    Nothing is changed, and BrokerError raised, when a partition was damaged and the recent files do not have all of
    what lies behind the damage.
    """
    found = {key: files.recover(partition) for key, (partition, files) in homes.items()}
    torn = {key: behind for key, behind in found.items() if behind is not None}
    ends = recent.ends({key: homes[key][0].end for key in torn}) if torn else {}
    for key, behind in torn.items():
        if behind.is_damage and behind.end > ends[key]:
            raise _refusal(behind)
    for key, behind in torn.items():
        homes[key][1].cut(behind, behind.messages if behind.end > ends[key] else 0)
    _append_recent(homes, recent)


def _append_recent(homes: Homes, recent: RecentFiles) -> None:
    stray: list[bytes] = []
    for epoch, number, batch in recent.replay():
        # There is none when it was removed since, with its topic.
        partition, files = homes.get((epoch, number), (None, None))
        if partition is None or files is None:
            continue
        header = read_header(batch)
        if header.base_offset > partition.end:
            stray.append(batch)
        elif header.base_offset == partition.end:
            for complete in files.append(batch)[:-1]:
                complete.sync()
                complete.close()
            if files.last_start == partition.size_bytes:
                partition.begin_segment()
            partition.append(None, count=header.count, size=len(batch), now_us=header.base_timestamp)
    if stray:
        name = recent.directory / "recent"
        kept = keep_aside(name, 0, b"".join(stray)).name
        logger.error("%s: %d batches have lost what comes before them; kept in %s", name, len(stray), kept)


def _refusal(behind: Behind) -> BrokerError:
    return BrokerError(
        f"{behind.path}: damaged at byte {behind.position}, and what is there was acknowledged; restore a backup, or "
        f"move {behind.path.parent} elsewhere, and lose its messages"
    )
