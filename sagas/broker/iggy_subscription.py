"""A member of a consumer group, reading through the real client.

Theory of operation. The broker decides which member owns which partition; a member learns it by asking (a sync) and
reads its partitions by number, from positions it keeps itself. The broker's own "next" would return the same messages
until they are committed, and reading ahead of the commit is what makes batches. Three things are known of a partition:

    owned        it is in the last sync; the broker answers polls of any other with nothing (fenced)
    position     the offset to read next; set from the stored offset when the partition is gained
    stored       the broker's, moved by `commit` alone, which is sent after the database commit

What can happen, and why nothing is skipped:
* Lost to another member: its position is dropped at the next sync; until then its polls return nothing. What was
  read ahead before is returned all the same, for a partition changes hands when what was read of it is committed.
* A commit for a lost partition is refused by the broker, and said to be: the new owner reads it again.
* The connection is lost, or found to be in no group (another session, a deleted group, a purged topic): all positions
  are dropped, the groups are joined again and reading goes on from the stored offsets. A commit of what was returned
  before that is refused: its messages may be gone, and others have their offsets (`positions.py`).
* The log is shorter than the stored offset says (a broker that crashed before it wrote its messages, while
  the offset was on disk): offsets are about to be used a second time, by other messages, and everything up to
  the stored one would be skipped. The partition is read from 0; whoever reads knows the repeats by their ids.

A position may be behind what another member committed meanwhile (lost and gained between two syncs):
that repeats messages, and repeats are harmless. No position is ever ahead of what was returned to the caller.

A poll costs one request, and each topic one sync every `RESYNC_S`. A server that can reads all partitions at once, and
waits where there is nothing (`iggy_together.py`): what comes is kept for the next poll, and positions move only then.
Any other says which partitions have become longer (`iggy_news.py`), and these are polled, a lane's one by one. Lanes
together read more than a poll may return. What is left over is kept as well: thrown away, it would count as being
worked at, and hold up a partition that is to go to another member.

A real server keeps group members on its disk, and after a restart has some that nobody is behind: `iggy_ghosts.py`.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

import anyio

from sagas.broker import iggy_wire as wire
from sagas.broker.iggy_connection import SETTLE_S, IggyConnection
from sagas.broker.iggy_ghosts import Ghosts
from sagas.broker.iggy_lanes import Lane, Lanes
from sagas.broker.iggy_news import IggyNumbers, News
from sagas.broker.iggy_sweep import Read, decoded, is_maybe_cut, take
from sagas.broker.iggy_together import Requests, Together
from sagas.broker.outgoing import checked_positions
from sagas.broker.positions import Positions
from sagas.errors import BrokerError, BrokerUnavailable
from sagas.ports import Incoming, Position, Reading
from sagas.records import Partition

RESYNC_S = 0.25
"""How old the knowledge of who owns what may be; a take-over is noticed after at most this long."""

_log = logging.getLogger("sagas.broker")


class IggySubscription:
    """One member of the group `group`; made by `IggyBroker.subscribe`."""

    def __init__(
        self,
        connections: Sequence[IggyConnection],
        waiting: Requests,
        stream: str,
        group: str,
        topics: Sequence[str],
    ) -> None:
        """`waiting` is a connection of its own for requests that are answered when a message comes.

        Of `connections` as many are used as help (`iggy_lanes.py`), the first one always.
        """
        self._group = group
        self._topics = tuple(dict.fromkeys(topics))
        self._lanes = Lanes(connections, stream, group, self._topics)
        self._ghosts = Ghosts(self._lanes, stream, group, self._topics)
        # Polling, committing and rewinding read and write the positions: one at a time.
        self._turn = anyio.Lock(fast_acquire=True)
        self._positions = Positions()
        self._order: list[Partition] = []
        self._shares: dict[str, wire.Share] = {}
        self._counts: dict[str, int] = {}
        self._read: frozenset[Partition] = frozenset()
        self._first = 0
        self._is_together = False
        self._sync_due_at = 0.0
        self._together = Together(waiting, stream)
        self._ahead: list[Read] = []
        self._count_max = 1
        self._number = 0
        self._news = News(self._topics, IggyNumbers(connections[0], stream))
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def owned(self) -> Sequence[Partition]:
        """The partitions that the broker has given us, as of the last time it was asked."""
        return tuple(self._order)

    async def poll(self, count_max: int) -> Sequence[Incoming]:
        """The next messages, at most `count_max`; see `ports.Subscription`."""
        async with self._turn:
            await self._settle()
            self._read = frozenset()
            self._count_max = count_max
            # More may have come since: nothing is said of what was read to its end.
            found = self._take(self._ahead, count_max)
            if found:
                return found
            read = await self._read_together(0)
            if read is None:
                await self._look()
                read = await self._sweep(count_max)
            found = self._take(read, count_max)
            if len(found) < count_max and not is_maybe_cut(read):
                self._read = frozenset(self._order)
                self._news.are_read({part.at for part in read}, self._positions.next)
            return found

    async def wait(self, at_most_ms: int) -> bool:
        """Return when there is something to read; see `ports.Subscription`. It is kept for the next poll."""
        if not self._lanes.are_members:
            return False
        if self._ahead:
            return self._is_together
        read = await self._read_together(at_most_ms)
        self._ahead = read or []
        return read is not None

    async def commit(self, positions: Sequence[Position]) -> Sequence[Position]:
        """Store offsets; see `ports.Subscription`."""
        checked_positions(positions, self._topics)
        async with self._turn:
            known = [] if await self._settle() else [p for p in positions if self._positions.has_returned(p)]
            lost = await self._store(known)
            refused = [position for position in positions if position in lost or position not in known]
            for position in positions:
                if position in refused:
                    self._positions.forget((position.topic, position.partition))
                else:
                    self._positions.note_stored(position)
            if refused:
                self._sync_due_at = 0.0  # look again before the next poll
                self._news.forget()  # what was read of it may come again, though nothing is new
            return refused

    async def reading(self) -> Reading:
        """How far the last poll went; see `ports.Subscription`. Asks anew which partitions are ours."""
        async with self._turn:
            self._sync_due_at = 0.0
            await self._settle()
            everything = ((topic, number) for topic, count in self._counts.items() for number in range(count))
            return Reading(partitions=frozenset(everything), read=self._read)

    async def rewind(self) -> None:
        """The next poll starts from the stored offsets."""
        async with self._turn:
            self._forget()

    async def join(self) -> None:
        """Be a member now: raises what joining raises."""
        async with self._turn:
            await self._settle()

    async def close(self) -> None:
        """Leave the group, and let the loop live long enough for the client to end."""
        if self._is_closed:
            return
        with anyio.CancelScope(shield=True):
            await self.leave()
            await anyio.sleep(SETTLE_S)

    async def leave(self) -> None:
        """Leave the group and drop the connections. Takes as long as one call at most."""
        self._is_closed = True
        with suppress(BrokerError):  # the connections are dropped below, and the broker removes their members with them
            await self._lanes.each(lambda lane: lane.leave())
        self._lanes.close()
        self._together.close()

    # ------------------------------------------------------------------- membership

    async def _settle(self) -> bool:
        """Be a member and know, recently enough, which partitions are ours; whether the broker had ended that."""
        if self._is_closed:
            raise BrokerError(f"group {self._group!r}: this subscription was closed")
        was_member = self._lanes.are_members
        if was_member:
            now_s = asyncio.get_running_loop().time()
            if now_s < self._sync_due_at or (not await self._ghosts.are_gone(now_s) and await self._sync()):
                return False
            _log.warning("group %r: this member was removed from it; joining again", self._group)
        self._forget()
        self._positions.begin()
        first = self._lanes.first
        await first.connection.connect()
        # Anew each time: the client may have come back by itself, with another session on the same object.
        self._number = await first.members.number()
        self._is_together = await self._together.read(self._group, self._number, (), 1, 0) is not None
        self._lanes.deal(is_one=self._is_together)
        await self._lanes.each(lambda lane: lane.join())
        if not self._is_together:  # the embedded broker has no ghosts
            self._ghosts.look_later(asyncio.get_running_loop().time())
        if not await self._sync():
            self._lanes.drop()
            raise BrokerUnavailable(f"group {self._group!r}: joined, and removed again at once; try again")
        if not self._order:
            _log.info("group %r: no partition for this member yet", self._group)
        return was_member

    async def _sync(self) -> bool:
        """Learn which partitions are ours; False when this connection is in no group for a topic."""
        shares: dict[str, wire.Share] = {}
        for found in await self._lanes.each(lambda lane: lane.members.shares(lane.topics)):
            if found is None:
                return False
            shares |= found
        changed = [topic for topic, share in shares.items() if share != self._shares.get(topic)]
        if changed:
            await self._note_dealt_anew(changed)
        owned = [(topic, partition) for topic, share in shares.items() for partition in share.partitions]
        known = self._positions.next
        positions = {
            at: known[at] if at in known else await self._lanes.of(at[0]).members.start_of(*at) for at in owned
        }
        # What was read ahead may still be committed though its partition is to go to another.
        positions |= {part.at: known[part.at] for part in self._ahead if part.at in known}
        self._positions.put(positions)
        self._shares, self._order = shares, owned
        self._sync_due_at = asyncio.get_running_loop().time() + RESYNC_S
        return True

    async def _store(self, positions: Sequence[Position]) -> list[Position]:
        """Store offsets; those of partitions that are not ours."""
        by_lane: dict[Lane, list[Position]] = {}
        for position in positions:
            by_lane.setdefault(self._lanes.of(position.topic), []).append(position)
        stored = await self._lanes.each(lambda lane: lane.members.store(by_lane[lane]), list(by_lane))
        return [lost for some in stored for lost in some]

    async def _note_dealt_anew(self, topics: Sequence[str]) -> None:
        """Even a partition that is ours may have been another's in between, and looked empty to us; or be another."""
        self._news.forget()
        self._read = frozenset(at for at in self._read if at[0] not in topics)
        for topic in topics:
            self._counts[topic], anew = await self._lanes.of(topic).partitions(topic)
            self._positions.forget(*anew)

    def _forget(self) -> None:
        self._positions.put({})
        self._order, self._shares, self._ahead = [], {}, []
        self._sync_due_at, self._read = 0.0, frozenset()
        self._news.forget()

    # ------------------------------------------------------------------- messages

    def _in_turn(self) -> list[Partition]:
        """Our partitions, from another one on each time, so that a full first one does not starve the rest."""
        # A partition whose commit was refused is somebody else's: it is in the order until the next sync.
        ours = [at for at in self._order if at in self._positions.next]
        first = self._first % max(1, len(ours))
        self._first += 1
        return [*ours[first:], *ours[:first]]

    async def _look(self) -> None:
        """Find out what is unread; what was cut is read from the stored offset, or from its beginning."""
        await self._news.look(self._positions.next, asyncio.get_running_loop().time())
        for at in self._news.cut:
            _log.warning("topic %r, partition %d: messages that group %r has read were removed", *at, self._group)
        if self._news.cut:
            self._positions.forget(*self._news.cut)
            self._sync_due_at = 0.0
            await self._settle()

    async def _sweep(self, count_max: int) -> list[Read]:
        """At most `count_max` messages of each lane's unread partitions."""
        wanted: dict[Lane, list[tuple[Partition, int]]] = {}
        for at in self._in_turn():
            if at in self._news.unread:
                wanted.setdefault(self._lanes.of(at[0]), []).append((at, self._positions.next[at]))
        found = await self._lanes.each(lambda lane: lane.sweep.read(wanted[lane], count_max), list(wanted))
        return [read for some in found for read in some]

    async def _read_together(self, at_most_ms: int) -> list[Read] | None:
        if not self._is_together:
            return None
        wanted = [(at, self._positions.next[at]) for at in self._in_turn()]
        found = await self._together.read(self._group, self._number, wanted, self._count_max, at_most_ms)
        return None if found is None else decoded(found, self._group)

    def _take(self, read: Sequence[Read], count_max: int) -> list[Incoming]:
        """At most `count_max` messages of what was read; the rest is kept for the next poll."""
        found, self._ahead = take(read, self._positions.next, count_max, self._group)
        return found
