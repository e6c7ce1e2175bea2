"""What was parked by an earlier batch, and is taken in this one.

Theory of operation. What is parked is read again when its run moves, before a timer of its run fires (nobody times out
a step whose answer lies here), and when its time is over: then by every node that looks, until the one that has the
run's version does. Only what cannot be taken even then becomes a dead letter, and is forgotten by the inbox: it may
come again.
"""

from collections.abc import Callable, Collection, Sequence

from sagas.core.instance import Instance
from sagas.ports import Incoming, ParkedRow, TimerRow
from sagas.runtime.deciding import ELSEWHERE, ELSEWHERE_MS, Deciding
from sagas.runtime.intake import Item, PoisonItem, ReplyItem, SignalItem
from sagas.runtime.rows import PARKED_MS_MAX, saga_and_key, unborn

Read = Callable[[Incoming], Item]


class Parking(Deciding):
    """The part of a batch that deals with what was parked."""

    def take_parked_first(self, read: Read) -> None:
        """Take what lies here for the instances that were read, before what is new: it came earlier."""
        rows = self._transaction.parked_for(self._read)
        self._take_parked([row for row in rows if self._home_of(self._instances[row.instance_id])], read)

    def unpark(self, read: Read) -> None:
        """Try the parked replies and signals of the instances that moved in this batch again."""
        if not self._advanced:
            return
        moved = [self._instances[instance_id] for instance_id in self._advanced]
        born = [unborn(i.saga, i.key) for i in moved if i.id not in self._read]
        waiting = self._transaction.parked_for([*self._advanced, *born])
        if not waiting and not self._changes.parked:
            return
        # What was parked in this same batch is in no table yet: its start may have been read just after it.
        just_now, self._changes.parked = self._changes.parked, []
        wanted = {*self._advanced, *born}
        self._changes.parked += (row for row in just_now if row.instance_id not in wanted)
        self._take_parked(waiting, read)
        for row in (row for row in just_now if row.instance_id in wanted):
            self._take_row(row, read)

    def take_waiting(self, timers: Sequence[TimerRow], expired: Sequence[ParkedRow], read: Read) -> None:
        """Take what lies here for the instances of these timers, before they fire, and what was parked too long."""
        self._take_parked(self._transaction.parked_for({timer.instance_id for timer in timers}), read)
        for row in expired:
            self._take_or_bury(row, read)

    def give_up(self, row: ParkedRow, reason: str) -> None:
        """Make a dead letter of what was parked too long, and let it come again."""
        self._changes.unparked.append(row.message_id)
        self._forget(row.incoming)
        self._bury(row.incoming, reason)

    def _take_parked(self, rows: Sequence[ParkedRow], read: Read) -> None:
        taken = set(self._changes.unparked)
        for row in rows:
            if row.message_id not in taken:
                self._changes.unparked.append(row.message_id)
                self._take_row(row, read)

    def _take_row(self, row: ParkedRow, read: Read) -> None:
        self._parked_ms[row.message_id] = row.received_ms
        instance = self._instances.get(row.instance_id)
        if instance is not None and self._home_of(instance) is None:
            self._leave(row.incoming, instance, row.message_id)  # this node may not even read its topic
            return
        item = read(row.incoming)
        match item:
            case ReplyItem():
                self._take_reply(item.incoming, item.instance_id, item.reply)
            case SignalItem() if saga := self._saga_of(row):
                self._take_signal(item, saga)
            case PoisonItem(reason=reason):
                self._refuse(row.incoming, reason)
            case _:
                self._bury(row.incoming, "it came early, and nothing here waits for it any more")

    def _take_or_bury(self, row: ParkedRow, read: Read) -> None:
        """Take what was parked too long, or give it up."""
        if row.message_id in self._changes.unparked:
            return  # a timer of its run was due as well
        if row.incoming.defect:
            self.give_up(row, row.incoming.defect)
            return
        self._load_for(row)
        instance = self._instances.get(row.instance_id)
        if instance is not None and self._home_of(instance) is None:
            self._leave_or_bury(row, instance)
            return
        # What came before it for the same run is not overtaken, though it may expire later.
        self._take_parked(self._transaction.parked_for([row.instance_id]), read)
        again = [one for one in self._changes.parked if one.message_id == row.message_id]
        if not again:
            return
        self._changes.parked.remove(again[0])
        if self._was_for_another(row, read):
            return
        if instance is None and saga_and_key(row.instance_id) is None:
            self.give_up(row, f"the run that it answers is not in this database: {ELSEWHERE}")
        else:
            self.give_up(row, "came early, and what it answers never followed")

    def _leave_or_bury(self, row: ParkedRow, instance: Instance) -> None:
        """Leave it to the node that has its run's version; if the run has ended, not for ever."""
        if instance.is_ended and self._now_ms - row.received_ms >= PARKED_MS_MAX:
            version = f"version {instance.version} of saga {instance.saga!r}"
            self.give_up(row, f"its run has ended, and no orchestrator has {version} loaded, to tell what it means")
            return
        self._changes.unparked.append(row.message_id)
        self._parked_ms[row.message_id] = row.received_ms
        self._park(row.incoming, row.instance_id, row.message_id, ELSEWHERE_MS)

    def _load_for(self, row: ParkedRow) -> None:
        at = saga_and_key(row.instance_id)
        if at is not None:
            self._find(at[0], [at[1]])
        elif row.instance_id not in self._instances:
            self._keep(self._transaction.load([row.instance_id]).values())

    def _saga_of(self, row: ParkedRow) -> str:
        at, instance = saga_and_key(row.instance_id), self._instances.get(row.instance_id)
        return at[0] if at is not None else instance.saga if instance is not None else ""

    def _was_for_another(self, row: ParkedRow, read: Read) -> bool:
        """Whether a signal that this saga's run never came for has found another saga's, or is buried for another."""
        item = read(row.incoming)
        if not isinstance(item, SignalItem):
            return False
        if any(self._transaction.find(saga, [item.key]) for saga in (*item.sagas, *item.elsewhere)):
            return True
        # Of those whose run was purged there is no row.
        waiting = (saga for saga in item.sagas if not self._transaction.purged(saga, [item.key]))
        return self._saga_of(row) != next(waiting, "")

    def _find(self, saga: str, keys: Collection[str]) -> None:
        found = self._transaction.find(saga, keys)
        self._keep(run for run in found.values() if run.id not in self._instances)
        missing = [key for key in keys if key not in found]
        self._purged.update((saga, key) for key in self._transaction.purged(saga, missing))
