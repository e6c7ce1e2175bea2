"""One batch of the orchestrator, or a part of a large one: every decision gathered into one `Changes`.

Theory of operation. Instances are read once for all of its messages and then live in memory, so the
second message sees what the first decided. Nothing is written until the end, and then all of it in the
transaction that did the reading, which the parts of a large batch share: a crash anywhere leaves no trace.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from sagas.core.definition import Definition
from sagas.core.effects import ClearTimer, Decision, Input, Operate, Reply, Send, SetTimer
from sagas.core.ids import answer_id
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.ports import Changes, Incoming, StoreTransaction, TimerRow
from sagas.runtime.catalog import Catalog
from sagas.runtime.dead_letters import dead_letter, published_again
from sagas.runtime.intake import ForeignItem, Item, PoisonItem, ReplyItem, SignalItem, StartItem, wanted_runs
from sagas.runtime.planning import carry_over_of, plan
from sagas.runtime.pulse import Drift, drift_of
from sagas.runtime.rows import audit_row, begun, command_row, journal_row, parked_row, timer_name, unborn

READ_BY = "orchestrator"
"""Who gave up on a message, in its dead letter."""

UNKNOWN_VERSION_MS = 60_000
"""How long a timer waits for a node that knows its saga's version, before it is looked at again."""

_log = logging.getLogger("sagas.orchestrator")


class Batch:
    """The state of one batch. Use: `load`, then `take` or `fire` each, then `write`."""

    def __init__(self, catalog: Catalog, transaction: StoreTransaction, now_ms: int) -> None:
        self._catalog = catalog
        self._transaction = transaction
        self._now_ms = now_ms
        self._changes = Changes(now_ms=now_ms)
        self._instances: dict[str, Instance] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._read: dict[str, Instance] = {}
        self._timers: dict[tuple[str, str], TimerRow | None] = {}
        self._seen: set[str] = set()
        self._purged: set[tuple[str, str]] = set()
        self._advanced: dict[str, None] = {}

    # ----------------------------------------------------------------- reading

    def load(self, items: Sequence[Item]) -> None:
        """Read what the items need: which are known already, and the instances they are for."""
        self._seen = self._transaction.seen([item.incoming.id for item in items])
        self._keep(self._transaction.load({i.instance_id for i in items if isinstance(i, ReplyItem)}).values())
        keys: dict[str, set[str]] = {}
        for item in items:
            for saga, key in wanted_runs(item):
                keys.setdefault(saga, set()).add(key)
        for saga, wanted in keys.items():
            found = self._transaction.find(saga, wanted)
            self._keep(found.values())
            self._purged.update((saga, key) for key in self._transaction.purged(saga, wanted - found.keys()))

    def due(self, until_ms: int, count_max: int) -> list[TimerRow]:
        """Read the timers due at or before `until_ms` and their instances; expire replies parked too long."""
        timers = self._transaction.due_timers(until_ms, count_max)
        self._keep(self._transaction.load({timer.instance_id for timer in timers}).values())
        for parked in self._transaction.parked_expired(until_ms, count_max):
            self._changes.unparked.append(parked.message_id)
            self._bury(parked.incoming, "came early, and what it answers never followed")
        return timers

    def _keep(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self._instances[instance.id] = instance
            self._ids[instance.saga, instance.key] = instance.id
            self._read[instance.id] = instance

    # ----------------------------------------------------------------- deciding

    def take(self, item: Item) -> None:
        """Deal with one message, once."""
        message_id = item.incoming.id
        if message_id in self._seen or (not isinstance(item, ReplyItem) and self._has_begun(item)):
            return
        self._seen.add(message_id)
        match item:  # the most frequent first: not to be of a class costs four times as much as to be
            case ReplyItem():
                self._take_reply(item.incoming, item.instance_id, item.reply)
            case StartItem():
                if self._take_start(item):
                    return  # not noted in the inbox: its run knows it, and is found by its key
            case SignalItem():
                if item.start is not None:
                    self._take_start(item.start)
                self._take_signal(item)
            case PoisonItem(reason=reason):
                self._bury(item.incoming, reason)
            case ForeignItem():
                return  # not noted either: it is nothing to us however often it comes
        self._changes.inbox.append(message_id)

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
            # Left for a node that knows this version; later, so that it does not stand before the others.
            later = msgspec.structs.replace(timer, due_ms=self._now_ms + UNKNOWN_VERSION_MS)
            self._timers[timer.instance_id, timer.name] = later
            _log.error("saga %s version %d is not loaded here, %s waits", instance.saga, instance.version, instance.id)
            return
        instance = self._instances[instance.id]
        decision = decide(definition, instance, timer.fire, self._now_ms)
        self._adopt(definition, instance, decision, timer.fire, "")

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
        self._adopt(definition, self._instances[instance_id], decision, message, "")
        self._changes.audit.append(audit_row(instance, decision, message, self._now_ms))
        # What is asked again may have been answered before: that answer comes once more, under the same id.
        sent = (effect.id for effect in decision.effects if isinstance(effect, Send))
        self._changes.forgotten += (answer_id(command_id) for command_id in sent)
        return decision

    def fail(self, incoming: Incoming, reason: str) -> None:
        """Deal with a message on which this engine failed: publish it again, or put it among the dead letters."""
        if self._transaction.seen([incoming.id]):
            return
        self._changes.inbox.append(incoming.id)
        again = published_again(incoming, self._now_ms, read_by=READ_BY, key_field=self._key_field(incoming.topic))
        if again is None:
            self._bury(incoming, reason)
        else:
            self._changes.outbox.append(again)

    def _has_begun(self, item: Item) -> bool:
        """Whether a message has begun a run: then it was dealt with, whoever waits for it now."""
        start = item.start if isinstance(item, SignalItem) else item
        run = self._run_of(start) if isinstance(start, StartItem) else None
        return run is not None and run.begun_by == item.incoming.id

    def _run_of(self, item: StartItem) -> Instance | None:
        return self._instances.get(self._ids.get((item.definition.name, item.start.key), ""))

    def _take_start(self, item: StartItem) -> bool:
        """Begin a run, unless there is one; whether that was done."""
        definition, incoming, key = item.definition, item.incoming, item.start.key
        if (definition.name, key) in self._purged:
            self._bury(incoming, f"the run of {key!r} ended long ago and was purged: none begins anew")
            return False
        instance = self._run_of(item)
        if instance is not None:
            self._decide(self._home_of(instance) or definition, instance.id, item.start, incoming)
            return False
        decision = begun(decide(definition, None, item.start, self._now_ms), incoming.id)
        self._adopt(definition, None, decision, item.start, incoming.id)
        return True

    def _take_signal(self, item: SignalItem) -> None:
        for saga in item.sagas:
            instance = self._instances.get(self._ids.get((saga, item.key), ""))
            definition = self._home_of(instance) if instance is not None else None
            if instance is None:
                # The start may come on another topic. The row is for the first saga: it is read again for all of them.
                self._park(item.incoming, unborn(saga, item.key))
                return
            if definition is not None and definition.takes(item.signal.event_type):
                self._decide(definition, instance.id, item.signal, item.incoming)

    def _take_reply(self, incoming: Incoming, instance_id: str, reply: Reply) -> None:
        instance = self._instances.get(instance_id)
        if instance is None:
            if self._transaction.is_purged(instance_id):
                self._bury(incoming, f"it answers step {reply.step!r} of a run that ended long ago and was purged")
            else:
                self._park(incoming, instance_id)
            return
        definition = self._home_of(instance)
        if definition is None:
            _log.error("saga %s version %d is not loaded here, %s waits", instance.saga, instance.version, instance.id)
            self._park(incoming, instance_id)
            return
        spec = definition.step_of(reply.step)
        if spec is not None and spec.to.events != incoming.topic:
            self._bury(
                incoming, f"step {reply.step!r} is answered on {spec.to.events!r}, this came on {incoming.topic!r}"
            )
            return
        self._decide(definition, instance_id, reply, incoming)

    def _home_of(self, instance: Instance) -> Definition | None:
        """The definition under which the run goes on, to which it is carried over first if it is another."""
        definition = self._catalog.exact(instance)
        if definition is not None:
            return definition
        heir = self._catalog.heir(instance)
        if heir is not None:
            message = carry_over_of(instance)
            self._adopt(heir, instance, decide(heir, instance, message, self._now_ms), message, "")
        return heir

    def _decide(self, definition: Definition, instance_id: str, message: Input, incoming: Incoming) -> None:
        decision = decide(definition, self._instances[instance_id], message, self._now_ms)
        if decision.verdict == "early":
            self._park(incoming, instance_id)
            return
        if decision.verdict == "violation":
            self._bury(incoming, decision.note)
        self._adopt(definition, self._instances[instance_id], decision, message, incoming.id)

    def _park(self, incoming: Incoming, instance_id: str) -> None:
        self._changes.parked.append(parked_row(incoming, instance_id, self._now_ms))

    def _bury(self, incoming: Incoming, reason: str) -> None:
        key_field = self._key_field(incoming.topic)
        letter, notice = dead_letter(incoming, reason, self._now_ms, read_by=READ_BY, key_field=key_field)
        _log.warning("dead letter from %s/%d at %d: %s", letter.topic, letter.partition, letter.offset, letter.reason)
        self._changes.dead_letters.append(letter)
        self._changes.outbox.append(notice)

    def _key_field(self, topic: str) -> str:
        return next((d.key for d in self._catalog.definitions if topic in d.topics), "")

    # ----------------------------------------------------------------- gathering

    def _adopt(
        self, definition: Definition, before: Instance | None, decision: Decision, message: Input, message_id: str
    ) -> None:
        after = decision.instance
        assert after is not None
        self._instances[after.id] = after
        self._ids[after.saga, after.key] = after.id
        self._advanced[after.id] = None
        self._changes.journal.append(journal_row(before, decision, message, message_id, self._now_ms))
        for effect in decision.effects:  # by their type itself: to ask what is of no class of a Struct costs four times
            if type(effect) is Send:
                self._changes.outbox.append(command_row(definition, after, effect, self._now_ms))
            elif type(effect) is SetTimer:
                name = timer_name(definition, after, effect.name)
                row = TimerRow(instance_id=after.id, name=name, due_ms=effect.due_ms, fire=effect.fire)
                self._timers[after.id, name] = row
            elif type(effect) is ClearTimer:
                self._timers[after.id, timer_name(definition, after, effect.name)] = None

    # ----------------------------------------------------------------- writing

    def unpark(self, read: Callable[[Incoming], Item]) -> None:
        """Try the parked replies and signals of the instances that moved in this batch again."""
        if not self._advanced:
            return
        moved = [self._instances[instance_id] for instance_id in self._advanced]
        born = [unborn(i.saga, i.key) for i in moved if i.id not in self._read]
        waiting = self._transaction.parked_for([*self._advanced, *born])
        if not waiting and not self._changes.parked:
            return
        self._changes.unparked += (row.message_id for row in waiting)
        # What was parked in this same batch is in no table yet: its start may have been read just after it.
        just_now, self._changes.parked = self._changes.parked, []
        wanted = {*self._advanced, *born}
        self._changes.parked += (row for row in just_now if row.instance_id not in wanted)
        for row in (*waiting, *(row for row in just_now if row.instance_id in wanted)):
            item = read(row.incoming)
            if isinstance(item, ReplyItem):
                self._take_reply(item.incoming, item.instance_id, item.reply)
            elif isinstance(item, SignalItem):
                self._take_signal(item)

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
