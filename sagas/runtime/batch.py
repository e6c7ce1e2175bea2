"""One batch of the orchestrator, or a part of a large one: every decision gathered into one `Changes`.

Theory of operation. Instances are read once for all of its messages and then live in memory (`deciding.py`). Nothing is
written until the end, and then all of it in the transaction that did the reading, which the parts of a large batch
share: a crash anywhere leaves no trace. What was parked by an earlier one is taken as well (`parking.py`).
"""

import logging
from collections.abc import Sequence

import msgspec

from sagas.core.effects import Decision, Operate
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.republished import first_id
from sagas.ports import Incoming, ParkedRow, StoreTransaction, TimerRow
from sagas.runtime.catalog import Catalog
from sagas.runtime.dead_letters import published_again
from sagas.runtime.deciding import READ_BY, UNLOADED
from sagas.runtime.intake import (
    ForeignItem,
    Item,
    PoisonItem,
    ReplyItem,
    SignalItem,
    StartItem,
    copies_among,
    wanted_runs,
)
from sagas.runtime.parking import Parking
from sagas.runtime.planning import plan
from sagas.runtime.pulse import Drift, drift_of
from sagas.runtime.rows import audit_row, tried_mark

PUT_OFF_MS = 60_000
"""After how long a timer is looked at again that no node here can fire: none knows its saga's version, or all fail."""

_log = logging.getLogger("sagas.orchestrator")


class Batch(Parking):
    """The state of one batch. Use: `load`, then `take` or `fire` each, then `write`."""

    def __init__(self, catalog: Catalog, transaction: StoreTransaction, now_ms: int) -> None:
        super().__init__(catalog, transaction, now_ms)
        self._seen: set[str] = set()
        self._copies: dict[str, str] = {}

    # ----------------------------------------------------------------- reading

    def load(self, items: Sequence[Item]) -> None:
        """Read what the items need: which are known already, and the instances they are for."""
        self._copies = copies_among(items)
        self._seen = self._transaction.seen([*(item.incoming.id for item in items), *self._copies.values()])
        self._keep(self._transaction.load({i.instance_id for i in items if isinstance(i, ReplyItem)}).values())
        keys: dict[str, set[str]] = {}
        for item in items:
            for saga, key in wanted_runs(item):
                keys.setdefault(saga, set()).add(key)
        for saga, wanted in keys.items():
            self._find(saga, wanted)

    def due(self, until_ms: int, count_max: int) -> list[TimerRow]:
        """Read the timers due at or before `until_ms`, and their instances."""
        timers = self._transaction.due_timers(until_ms, count_max)
        self.load_runs_of(timers)
        return timers

    def next_due(self, until_ms: int) -> list[TimerRow]:
        """Read the first timer due at or before `until_ms`, without its instance; [] when there is none."""
        return self._transaction.due_timers(until_ms, 1)

    def load_runs_of(self, timers: Sequence[TimerRow]) -> None:
        """Read the instances of these timers."""
        self._keep(self._transaction.load({timer.instance_id for timer in timers}).values())

    def expired(self, until_ms: int, count_max: int) -> list[ParkedRow]:
        """Read what was parked until `until_ms` or before."""
        return self._transaction.parked_expired(until_ms, count_max)

    # ----------------------------------------------------------------- deciding

    def take(self, item: Item) -> None:
        """Deal with one message, once."""
        message_id = item.incoming.id
        first = self._copies.get(message_id) if self._copies else None
        if message_id in self._seen or first in self._seen:
            return
        if not isinstance(item, ReplyItem) and self._has_begun(item):
            return
        self._seen.add(message_id)
        if first is not None:
            self._seen.add(first)
        match item:  # the most frequent first: not to be of a class costs four times as much as to be
            case ReplyItem():
                self._take_reply(item.incoming, item.instance_id, item.reply)
            case StartItem():
                if self._take_start(item):
                    return  # not noted in the inbox: its run knows it, and is found by its key
            case SignalItem():
                if not self._take_event(item):
                    return  # as below
            case PoisonItem(reason=reason):
                self._refuse_or_bury(item.incoming, reason)
            case ForeignItem():
                return  # not noted either: it is nothing to us however often it comes
        self._changes.inbox.append(message_id)
        if first is not None:
            self._changes.inbox.append(first)

    def fire(self, timer: TimerRow) -> None:
        """Deal with a timer that came due; its row is gone with this batch, unless its saga is not known here."""
        if (timer.instance_id, timer.name) in self._timers:
            return  # another timer of this instance came before, and deciding that one has replaced or cleared this
        self._timers[timer.instance_id, timer.name] = None
        instance = self._instances.get(timer.instance_id)
        if instance is None:
            _log.error("timer %s of %s has no instance", timer.name, timer.instance_id)
            return
        definition = self._home_of(instance)
        if definition is None:
            self.put_off(timer)  # left for a node that knows this version
            _log.error(UNLOADED, instance.id, instance.saga, instance.version)
            return
        instance = self._instances[instance.id]
        decision = decide(definition, instance, timer.fire, self._now_ms)
        self._adopt(definition, instance, decision, timer.fire, "")

    def put_off(self, timer: TimerRow) -> None:
        """Have a timer that cannot be fired now fire later, so that it does not stand before the others."""
        later = msgspec.structs.replace(timer, due_ms=self._now_ms + PUT_OFF_MS)
        self._timers[timer.instance_id, timer.name] = later

    def load_instance(self, instance_id: str) -> Instance | None:
        """Read one instance."""
        self._keep(self._transaction.load([instance_id]).values())
        return self._instances.get(instance_id)

    def operate(self, instance_id: str, message: Operate) -> Decision | str:
        """Do what a person asks of an instance that was read; in words why it cannot be done, and then nothing is."""
        instance = self._instances[instance_id]
        decision = plan(self._catalog, instance, message, self._now_ms)
        if isinstance(decision, str):
            return decision
        definition = self._home_of(instance)
        assert definition is not None, "there is a plan, so there is a definition"
        now = self._instances[instance_id]
        # The journal has what was decided upon: of a run that was carried over meanwhile the revision behind that.
        done = message if now is instance else msgspec.structs.replace(message, revision=now.revision)
        self._adopt(definition, now, decision, done, "")
        self._changes.audit.append(audit_row(instance, decision, message, self._now_ms))
        return decision

    def fail(self, incoming: Incoming, reason: str) -> None:
        """Deal with a message on which this engine failed: publish it again, or put it among the dead letters."""
        first, tried = first_id(incoming.id, incoming.headers), tried_mark(incoming.id)
        if self._transaction.seen({incoming.id, first, tried}):
            return
        again = published_again(incoming, self._now_ms, read_by=READ_BY, key_field=self._key_field(incoming.topic))
        if again is None:
            self._changes.inbox += {incoming.id, first}
            self._refuse_or_bury(incoming, reason)
        else:
            self._changes.inbox.append(tried)  # not its id: what is published again would be taken for a repeat of it
            self._changes.outbox.append(again)

    # ----------------------------------------------------------------- writing

    def write(self) -> None:
        """Write everything that was decided. Raises StaleRevision when an instance was moved by somebody else."""
        changes = self._changes
        for instance_id in self._advanced:
            before, after = self._read.get(instance_id), self._instances[instance_id]
            if before is None:
                changes.created.append(after)
            else:
                changes.updated.append((after, before.revision))
        changes.timers_set = [row for row in self._timers.values() if row is not None]
        changes.timers_cleared = [key for key, row in self._timers.items() if row is None]
        self._transaction.write(changes)

    def drift(self) -> Drift:
        """What this batch changes of what the loop knows, once it is written."""
        return drift_of(self._changes, self._read)
