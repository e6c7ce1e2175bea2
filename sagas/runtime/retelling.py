"""Every stored instance against its journal, or against the topic `event-store`: what `sagas verify` runs.

Theory of operation. Instances are read in pages, newest first, each with the revision it had then; its journal
is read up to that revision, so an orchestrator may be writing meanwhile.

From the topic the same is done without the journal: all of the topic is read, from its oldest message on, and
the rows of each instance are kept until those up to its revision are there; then they are decided and let go.
A row that comes twice is passed over if it says the same. What the topic lacks is waited for as long as the
feed still has rows to tell.
"""

from collections.abc import Iterator, Sequence

import msgspec

from sagas.core.instance import Instance
from sagas.ports import Incoming, InstanceFilter, JournalRow, Store
from sagas.runtime.event_store import Happened, read_happened
from sagas.runtime.verification import Definitions, differences, rebuild

PAGE = 500

LOST_MAX = 1_000
"""Lost instances that are named: a database that has lost more is restored, not looked at one by one."""


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """An instance that is not what its history says."""

    saga: str
    key: str
    id: str
    differences: tuple[str, ...]


def every_instance(store: Store) -> Iterator[Instance]:
    """All instances, newest first."""
    before = ""
    while page := store.instances(InstanceFilter(before_id=before, count_max=PAGE)):
        yield from page
        before = page[-1].id


def lost(store: Store) -> list[Mismatch]:
    """Instances of which only the journal is left."""
    what = "the journal tells of it, and it is not among the instances"
    return [Mismatch(saga="", key="", id=each, differences=(what,)) for each in store.lost_instances(LOST_MAX)]


class Cleaned(msgspec.Struct, frozen=True):
    """An instance that cannot be compared, because its journal was cleaned away up to this revision."""

    until: int


class Unloaded(msgspec.Struct, frozen=True):
    """An instance that cannot be compared, because a version of its saga that decided of it is not loaded here."""

    saga: str
    version: int


def against_journal(definitions: Definitions, store: Store, instance: Instance) -> Mismatch | Cleaned | Unloaded | None:
    """What is wrong with an instance, None when it is what its journal says."""
    rows = [row for row in store.journal(instance.id) if row.revision <= instance.revision]
    if instance.version and (not rows or rows[0].revision > 1):
        # Asked after the journal was read: it is never cleaned any less.
        until = min(store.cleaned_until(instance.id), instance.revision)
        if until:
            return _behind(until, instance, [row.revision for row in rows])
    return against(definitions, instance, rows, "journal")


def _behind(until: int, instance: Instance, told: Sequence[int]) -> Mismatch | Cleaned:
    """What can be said where rows up to a revision were cleaned away: whether those behind it are there."""
    missing = sorted(set(range(until + 1, instance.revision + 1)) - set(told))
    if missing:
        what = f"revision {missing[0]} is missing in the journal, which was cleaned up to revision {until} only"
        return _mismatch(instance, (what,))
    return Cleaned(until)


def against(
    definitions: Definitions, instance: Instance, rows: Sequence[JournalRow], said_by: str
) -> Mismatch | Unloaded | None:
    """What is wrong with an instance, None when it is what `rows` say."""
    if instance.is_damaged:
        return _mismatch(instance, (instance.reason,))
    if not rows:
        return _mismatch(instance, (f"the {said_by} has nothing of it",))
    rebuilt = rebuild(definitions, instance.saga, instance.version, rows)
    if rebuilt.unloaded:
        return Unloaded(instance.saga, rebuilt.unloaded)
    if rebuilt.differences or rebuilt.instance is None:
        return _mismatch(instance, rebuilt.differences)
    found = differences(rebuilt.instance, instance, said_by)
    return _mismatch(instance, found) if found else None


class Retelling:
    """The topic, compared with the instances that were stored when it was begun."""

    def __init__(self, definitions: Definitions, instances: Sequence[Instance]) -> None:
        self._definitions = definitions
        self._open = {instance.id: instance for instance in instances}
        self._done: set[str] = set()
        self._rows: dict[str, dict[int, JournalRow]] = {}
        self.strangers: set[str] = set()
        """Instances that the topic tells of and that were not stored: newer ones, or those of another database."""
        self.mismatches: list[Mismatch] = []
        self.cleaned = 0
        """Instances whose first revisions are not in the topic because they were cleaned away before."""
        self.unloaded: list[Unloaded] = []

    @property
    def is_complete(self) -> bool:
        """Whether everything that is stored was told."""
        return not self._open

    @property
    def compared(self) -> int:
        """How many instances were compared."""
        return len(self._done)

    def take(self, batch: Sequence[Incoming]) -> None:
        """Compare what a batch completes."""
        for incoming in batch:
            happened = read_happened(incoming)
            if isinstance(happened, str):
                where = f"{incoming.topic}/{incoming.partition} at {incoming.offset}"
                self.mismatches.append(
                    Mismatch(saga="", key="", id=incoming.id, differences=(f"{where} cannot be read: {happened}",))
                )
            else:
                self._take(happened)

    def finish(self, store: Store) -> None:
        """Say what was never told. What was cleaned away before telling began cannot be: that is counted apart."""
        for instance in self._open.values():
            told = sorted(self._rows.get(instance.id, {}))
            until = store.cleaned_until(instance.id)
            if until and isinstance(_behind(until, instance, told), Cleaned):
                self.cleaned += 1
                continue
            which = f"it has only revisions {told}" if told else "it has nothing of it"
            self.mismatches.append(_mismatch(instance, (f"revision {instance.revision} is not in the topic: {which}",)))
        self._open.clear()

    def _take(self, happened: Happened) -> None:
        instance = self._open.get(happened.instance_id)
        if instance is None:
            if happened.instance_id not in self._done:
                self.strangers.add(happened.instance_id)
            return
        if happened.revision > instance.revision:
            return
        try:
            row = happened.entry()
        except ValueError as error:
            self._close(instance, _mismatch(instance, (f"revision {happened.revision}: {error}",)))
            return
        rows = self._rows.setdefault(instance.id, {})
        if rows.setdefault(row.revision, row) != row:
            self._close(instance, _mismatch(instance, (f"revision {row.revision} is told twice, and differently",)))
        elif (happened.saga, happened.key) != (instance.saga, instance.key):
            told = f"revision {row.revision} is told as of {happened.saga} {happened.key}"
            self._close(instance, _mismatch(instance, (told,)))
        elif len(rows) == instance.revision:
            in_order = [rows[revision] for revision in sorted(rows)]
            self._close(instance, against(self._definitions, instance, in_order, "topic"))

    def _close(self, instance: Instance, found: Mismatch | Unloaded | None) -> None:
        if isinstance(found, Unloaded):
            self.unloaded.append(found)
        elif found is not None:
            self.mismatches.append(found)
        del self._open[instance.id]
        self._rows.pop(instance.id, None)
        self._done.add(instance.id)


def _mismatch(instance: Instance, found: tuple[str, ...]) -> Mismatch:
    return Mismatch(saga=instance.saga, key=instance.key, id=instance.id, differences=found)
