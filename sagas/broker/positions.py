"""Where one member of a group is in its partitions: what both adapters keep between a poll and its commit.

Theory of operation. A position is the offset to read next. It is kept for the partitions that are ours; of one that is
given up (for another member, or by a rewind) is remembered how far it was read, for what was read may still be
committed. When the membership begins anew all of it is forgotten: other messages may have the offsets by then. So an
offset that a membership has not returned is of messages that are gone, or were given to others. Stored, it would pass
over whatever has come since, without a word: it is refused, and its partition read from the stored offset.
"""

from collections.abc import Mapping

from sagas.records import Partition, Position


class Positions:
    """The positions of one member."""

    def __init__(self) -> None:
        self.next: dict[Partition, int] = {}
        """What to read next, of each partition that is ours."""
        self._ends: dict[Partition, int] = {}

    def begin(self) -> None:
        """The membership has begun anew: nothing was returned."""
        self.next, self._ends = {}, {}

    def put(self, following: Mapping[Partition, int]) -> None:
        """Read on from there, and in no other partitions."""
        for at, end in self.next.items():
            if following.get(at, -1) < end:
                self._ends[at] = max(end, self._ends.get(at, 0))
        self.next = dict(following)

    def forget(self, *places: Partition) -> None:
        """Not ours any more, or not what we took them for."""
        for at in places:
            self.next.pop(at, None)
            self._ends.pop(at, None)

    def has_returned(self, position: Position) -> bool:
        """Whether this membership has returned a message at that offset, or one behind it."""
        at = (position.topic, position.partition)
        return position.offset < max(self.next.get(at, 0), self._ends.get(at, 0))

    def note_stored(self, position: Position) -> None:
        """Dealt with, perhaps since a rewind: no need to read it once more."""
        at = (position.topic, position.partition)
        if self.next.get(at, position.offset + 1) <= position.offset:
            self.next[at] = position.offset + 1
