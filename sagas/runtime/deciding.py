"""What a batch decides of each message, gathered into one `Changes`: the part that reads nothing but what it is given.

Theory of operation. Instances live in memory for as long as the batch, so that the second message sees what the first
decided. A message that nobody can take yet is *parked*: an answer that overtook its start, or whose step was not asked;
a signal for a run that is not there; anything for a run whose version only another node has. A signal is for each saga
that waits for it by itself, so each has a row of its own.
"""

import logging
from collections.abc import Iterable

from sagas.core.definition import Definition
from sagas.core.effects import ClearTimer, Decision, Input, Reply, Send, SetTimer
from sagas.core.envelope import Header
from sagas.core.ids import answer_id
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.republished import first_id
from sagas.ports import Changes, Incoming, ParkedRow, StoreTransaction, TimerRow
from sagas.runtime.catalog import Catalog
from sagas.runtime.dead_letters import dead_letter
from sagas.runtime.intake import Item, SignalItem, StartItem
from sagas.runtime.planning import carry_over_of
from sagas.runtime.rows import PARKED_MS_MAX, begun, buried_mark, command_row, journal_row, marks_of, timer_name, unborn

READ_BY = "orchestrator"
"""Who gave up on a message, in its dead letter."""

ELSEWHERE_MS = 5_000
"""How long a message for a run whose version another node has lies, before each node looks whether it is the one."""

UNLOADED = "run %s waits: saga %s version %d as it was is not loaded here, and no newer one can take the run over"
"""Said of a run that only another node can go on with."""

ELSEWHERE = (
    "an orchestrator with another database reads this stream (give each a stream of its own), or this database was "
    "removed or restored from a backup"
)
"""Where a run is that is answered and not here: a run is in the database before anybody is asked."""

_log = logging.getLogger("sagas.orchestrator")


class Deciding:
    """What is known of the instances of a batch, and what is decided of them."""

    def __init__(self, catalog: Catalog, transaction: StoreTransaction, now_ms: int) -> None:
        self._catalog = catalog
        self._transaction = transaction
        self._now_ms = now_ms
        self._changes = Changes(now_ms=now_ms)
        self._instances: dict[str, Instance] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._read: dict[str, Instance] = {}
        self._timers: dict[tuple[str, str], TimerRow | None] = {}
        self._purged: set[tuple[str, str]] = set()
        self._parked_ms: dict[str, int] = {}
        """When what is taken out of `parked` was parked first: it keeps its place if it has to wait on."""
        self._advanced: dict[str, None] = {}

    def _keep(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self._instances[instance.id] = instance
            self._ids[instance.saga, instance.key] = instance.id
            self._read[instance.id] = instance

    # ----------------------------------------------------------------- messages

    def _has_begun(self, item: Item) -> bool:
        """Whether a message has begun a run: then it was dealt with, whoever waits for it now."""
        start = item.start if isinstance(item, SignalItem) else item
        run = self._run_of(start) if isinstance(start, StartItem) else None
        if run is None:
            return False
        incoming = item.incoming
        # Whoever waits for it too may not have got it: a copy that comes for him is held against the inbox alone.
        is_signal = isinstance(item, SignalItem)
        return run.begun_by == (incoming.id if is_signal else first_id(incoming.id, incoming.headers))

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
        first = first_id(incoming.id, incoming.headers)
        decision = begun(decide(definition, None, item.start, self._now_ms), first)
        self._adopt(definition, None, decision, item.start, incoming.id)
        return True

    def _take_event(self, item: SignalItem) -> bool:
        """Begin a run with it if it does that, and give it to whoever waits; False where it is nothing to anybody."""
        if isinstance(item.start, StartItem):
            self._take_start(item.start)
        elif item.start is not None:
            self._bury(item.incoming, item.start.reason)
        if item.sagas:
            self._take_signal(item)
        found = (self._instances.get(self._ids.get((saga, item.key), "")) for saga in item.elsewhere)
        waiting = (run for run in found if run is not None and not run.is_ended)
        left = [run for run in waiting if self._home_of(run) is None]
        for run in left:
            self._leave(item.incoming, run, self._row_of(item, run.saga))
        return bool(item.sagas or item.start or left)

    def _take_signal(self, item: SignalItem, only: str = "") -> None:
        """Give it to each run that waits for it, or only to that of one saga; keep it for those that cannot take it."""
        is_for_nobody = True
        for saga in (only,) if only else item.sagas:
            instance = self._instances.get(self._ids.get((saga, item.key), ""))
            if (saga, item.key) in self._purged:
                continue
            is_for_nobody = False
            if instance is None:
                self._park(item.incoming, unborn(saga, item.key), self._row_of(item, saga))  # its start may come later
            else:
                self._signal(item, instance)
        if is_for_nobody and (only or item.start is None):  # what was to begin a run has its record by that
            self._bury(item.incoming, f"the run of {item.key!r} ended long ago and was purged: nobody waits for it")

    def _signal(self, item: SignalItem, instance: Instance) -> None:
        definition = self._home_of(instance)
        if definition is None:
            self._leave(item.incoming, instance, self._row_of(item, instance.saga))
        elif definition.takes(item.signal.event_type, item.signal.topic):
            self._decide(definition, instance.id, item.signal, item.incoming, self._row_of(item, instance.saga))

    @staticmethod
    def _row_of(item: SignalItem, saga: str) -> str:
        """The id of the parked row of a signal, where it is for more sagas than one."""
        return f"{item.incoming.id}/{saga}" if len(item.sagas) + len(item.elsewhere) > 1 else ""

    def _take_reply(self, incoming: Incoming, instance_id: str, reply: Reply) -> None:
        instance = self._instances.get(instance_id)
        if instance is None:
            if self._transaction.is_purged(instance_id):
                self._bury(incoming, f"it answers step {reply.step!r} of a run that ended long ago and was purged")
            else:
                _log.error("an answer to run %s lies here, which is not in this database: %s", instance_id, ELSEWHERE)
                self._park(incoming, instance_id)
            return
        definition = self._home_of(instance)
        if definition is None:
            self._leave(incoming, instance)
            return
        spec = definition.step_of(reply.step)
        if spec is not None and spec.to.events != incoming.topic:
            self._refuse(
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

    def _decide(
        self, definition: Definition, instance_id: str, message: Input, incoming: Incoming, row_id: str = ""
    ) -> None:
        decision = decide(definition, self._instances[instance_id], message, self._now_ms)
        if decision.verdict == "early":
            self._park(incoming, instance_id, row_id)
            return
        if decision.verdict == "violation":
            if not isinstance(message, Reply) or decision.moves:
                self._bury(incoming, decision.note)
            elif not self._refuse(incoming, decision.note):
                return  # the journal has it as well
        self._adopt(definition, self._instances[instance_id], decision, message, incoming.id)

    def _park(self, incoming: Incoming, instance_id: str, row_id: str = "", for_ms: int = PARKED_MS_MAX) -> None:
        row_id = row_id or incoming.id
        expires_ms = self._now_ms + for_ms
        self._changes.parked.append(
            ParkedRow(
                message_id=row_id,
                instance_id=instance_id,
                received_ms=self._parked_ms.get(row_id, self._now_ms),
                expires_ms=expires_ms,
                incoming=incoming,
            )
        )

    def _leave(self, incoming: Incoming, instance: Instance, row_id: str = "") -> None:
        """Leave a message to a node that knows the version of its run."""
        _log.error(UNLOADED, instance.id, instance.saga, instance.version)
        self._park(incoming, instance.id, row_id, ELSEWHERE_MS)

    def _bury(self, incoming: Incoming, reason: str) -> None:
        key_field = self._key_field(incoming.topic)
        letter, notice = dead_letter(incoming, reason, self._now_ms, read_by=READ_BY, key_field=key_field)
        _log.warning("dead letter from %s/%d at %d: %s", letter.topic, letter.partition, letter.offset, letter.reason)
        self._changes.dead_letters.append(letter)
        self._changes.outbox.append(notice)

    def _refuse(self, incoming: Incoming, reason: str) -> bool:
        """Bury what may be read after a repair: an answer comes again under its one id. Whether it was not yet."""
        self._forget(incoming)
        mark = buried_mark(incoming.id)
        if mark in self._changes.inbox or self._transaction.seen([mark]):
            return False
        self._changes.inbox.append(mark)
        self._bury(incoming, reason)
        return True

    def _refuse_or_bury(self, incoming: Incoming, reason: str) -> None:
        """The same of any message: what is no answer is not asked for again, and may be repeated long after."""
        if Header.INSTANCE in incoming.headers:
            self._refuse(incoming, reason)
        else:
            self._bury(incoming, reason)

    def _forget(self, incoming: Incoming) -> None:
        """Let a message be dealt with again should it come again."""
        self._changes.forgotten += {incoming.id, first_id(incoming.id, incoming.headers)}

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
        if before is not None and before.is_stuck and decision.moves:
            # What a freed run asks again may have been answered before: that answer comes once more, under the same id.
            answers = [answer_id(effect.id) for effect in decision.effects if type(effect) is Send]
            self._changes.forgotten += (known for answer in answers for known in (answer, *marks_of(answer)))
        for effect in decision.effects:  # by their type itself: to ask what is of no class of a Struct costs four times
            if type(effect) is Send:
                self._changes.outbox.append(command_row(definition, after, effect, self._now_ms))
            elif type(effect) is SetTimer:
                name = timer_name(definition, after, effect.name)
                row = TimerRow(instance_id=after.id, name=name, due_ms=effect.due_ms, fire=effect.fire)
                self._timers[after.id, name] = row
            elif type(effect) is ClearTimer:
                self._timers[after.id, timer_name(definition, after, effect.name)] = None
