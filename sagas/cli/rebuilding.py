"""Rebuilding a projection beside the one in use: read anew, compared, swapped in. `sagas replay` prints it."""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from sagas.ports import Broker, Clock
from sagas.runtime.offload import Offload
from sagas.runtime.projection import POSITIONS_QUERY, Positions, Projection, positions_in
from sagas.runtime.replay import Replay
from sagas.store.compare import Difference, Snapshot, count_rows, differences, snapshot
from sagas.store.generations import Generations
from sagas.store.participant import SqliteParticipantStore

DIFFERENCES_MAX = 20
"""How many are named; that there are more is said."""

Progress = Callable[[int, int | None], None]
"""Told how many messages more were read, and how many there are in all, None when that is not known."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild came to. `messages`: read anew; `rows`: in its own tables; `took_ms`: for reading them.

    `differences` from the file that was in use: () when they are equal, and when there was none (`has_old`).
    `begins` are the partitions whose beginning the topic has forgotten, with the first offset that is left.
    """

    projection: str
    messages: int
    rows: int
    took_ms: int
    has_old: bool
    differences: tuple[Difference, ...]
    begins: tuple[tuple[str, int, int], ...]
    is_swapped: bool
    file: str

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


async def rebuild(
    projection: Projection,
    folder: Path,
    *,
    broker: Broker,
    clock: Clock,
    offload: Offload,
    on_progress: Progress,
    accepts: bool = False,
    only_checks: bool = False,
) -> Rebuilt:
    """Read the projection anew, compare it with the file in use, and swap it in if they are equal or `accepts`.

    With `only_checks` nothing is swapped. What is not swapped in is removed, but for a file that differs: that one can
    be looked at. Raises BrokerError and StoreError; then everything is as it was, unless the text says that the new one
    is current.
    """
    generations = Generations(folder, projection.name)
    current = generations.current()
    generation = generations.new(clock.now_ms())
    keeps = False
    try:
        with closing(SqliteParticipantStore(generations.path(generation), projection.migrations)) as store:
            subscription = await broker.subscribe(generations.group(generation), projection.topics)
            replay = Replay(projection, store, subscription, clock, offload)
            began_ms, found = clock.now_ms(), tuple[Difference, ...]()
            has_old = current is not None and generations.path(current).exists()
            if has_old and current is not None:
                with snapshot(generations.path(current)) as old:
                    until = _positions(old)
                    total = sum(offset + 1 for offset in until.values())
                    await replay.up_to(until, lambda count: on_progress(count, total))
                    found = await offload(_compare, old, generations.path(generation))
            if not only_checks:
                # Up to the present, so that whoever reads goes on where he was.
                await replay.to_the_end(lambda count: on_progress(count, None))
            took_ms = clock.now_ms() - began_ms
            rows = await offload(_count, generations.path(generation))
            await subscription.close()
        is_swapped = not only_checks and (accepts or not found)
        if is_swapped:
            generations.make_current(generation)
        keeps = is_swapped or bool(found)
        return Rebuilt(
            projection=projection.name,
            messages=replay.done.messages,
            rows=rows,
            took_ms=took_ms,
            has_old=has_old,
            differences=found,
            begins=tuple((*at, offset) for at, offset in sorted(replay.done.begins.items())),
            is_swapped=is_swapped,
            file=str(generations.path(generation)) if keeps else "",
        )
    finally:
        if not keeps:
            generations.discard(generation)


def _positions(old: Snapshot) -> Positions:
    return positions_in(old.database.rows(POSITIONS_QUERY))


def _compare(old: Snapshot, path: Path) -> tuple[Difference, ...]:
    with snapshot(path) as new:
        return tuple(islice(differences(old, new), DIFFERENCES_MAX + 1))


def _count(path: Path) -> int:
    with snapshot(path) as new:
        return count_rows(new)


def told(rebuilt: Rebuilt) -> Sequence[str]:
    """What came of it, in lines for people."""
    seconds = max(rebuilt.took_ms, 1) / 1000
    lines = [f"{rebuilt.projection}: {rebuilt.messages:,} messages read anew in {seconds:.1f} s, {rebuilt.rows:,} rows"]
    lines += [
        f"topic {topic!r}, partition {partition}: begins at offset {offset}, what stood before has expired: "
        "what only that told is not in the new one"
        for topic, partition, offset in rebuilt.begins
    ]
    if not rebuilt.has_old:
        lines.append("there was none to compare with")
    elif rebuilt.is_equal:
        lines.append("equal to the one in use, row by row")
    else:
        shown = rebuilt.differences[:DIFFERENCES_MAX]
        lines += [f"differs: {difference}" for difference in shown]
        if len(rebuilt.differences) > len(shown):
            lines.append("differs: and more")
    if rebuilt.is_swapped:
        lines.append(f"swapped in: {rebuilt.file}")
    elif not rebuilt.is_equal:
        lines.append(f"not swapped in; it is kept as {rebuilt.file}: to have it all the same, say --accept")
    return lines
