"""One run of a saga, as data: where it is, what each step did outside, and why it turned back.

The list of step records is the effect ledger. Each effect is in exactly one state:

    intended    the command was sent, no definite answer yet
    done        the participant says it is done
    refused     the participant says nothing remains; it was never done
    unknown     the answer did not come in time; the undo has been sent and settles it
    undone      the undo was answered: whatever was done, is not any more

An instance is `compensated` only if no effect is intended, done or unknown.

Both are stored by the order of their fields and without their names: a new field goes to the end and has a
default, and none is ever taken out or moved.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

Operation = Literal["do", "undo"]
Effect = Literal["intended", "done", "refused", "unknown", "undone"]

COMPLETED = "completed"
COMPENSATED = "compensated"
REJECTED = "rejected"
ABANDONED = "abandoned"
STUCK = "stuck"
ENDS = (COMPLETED, COMPENSATED, REJECTED, ABANDONED)
"""The states an instance rests in for ever. `stuck` is not one of them: it waits for a person."""

_AT_REST = frozenset((*ENDS, STUCK))

ITEM_MARK = "/"
"""Between a step that is done for each item of a list and the item's key, in the name of the item's record."""

ITEM_KEY = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
"""Of an item: it is sent in headers, stored and drawn."""

BY_HAND = "(by hand)"
"""Stands in the ledger where a reply would, for an effect that a person has settled."""


def item_name(step: str, key: str) -> str:
    """What the item `key` of a step is called: in the ledger, in headers and in timers."""
    return f"{step}{ITEM_MARK}{key}"


def leaf_of(name: str) -> str:
    """The leaf that a record of this name is of: the step itself, or the one whose item it is."""
    return name.partition(ITEM_MARK)[0]


def key_of(name: str) -> str:
    """The key of the item that a record of this name is of, "" for the record of a plain step."""
    return name.partition(ITEM_MARK)[2]


class StepRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one step of an instance did: its effect, answers, attempts, faults and times (Unix ms, 0 = not yet).

    A step that is done for each item of a list has a record for each: `pack/p-1`.

    `attempts` counts sendings, `faults` those of them that the participant said failed: only faults use up retries.
    `sent_as` is the name its participant knows it by when that is not `name`: an earlier version called it so.
    `asked_ms` is when it was first sent, 0: at `sent_ms`; that is later once a person had it retried.
    """

    name: str
    effect: Effect = "intended"
    reply: str = ""
    attempts: int = 1
    faults: int = 0
    sent_ms: int = 0
    answered_ms: int = 0
    undo_reply: str = ""
    undo_attempts: int = 0
    undo_faults: int = 0
    undo_sent_ms: int = 0
    undo_answered_ms: int = 0
    sent_as: str = ""
    asked_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether something of this step may still stand outside."""
        return self.effect in ("intended", "done", "unknown")


class Instance(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One run. `data` is the saga's own data as JSON; `revision` grows by one with every journal entry.

    `version` and `content` are of the definition it runs under; `content` is "" in rows of an older release.

    `state` names every place it is at, one for each branch that is under way. `cause` is why it turned back.
    While it is stuck `reason` says why, `stuck_step` over which step, and `stuck_from` in which state it was
    before. `marks` keeps what its decisions, waits and delays have come to, each with its name; `signals` those
    that came before their wait: its name, their type and JSON. `items` are those of its fan-outs, as they were when
    each began: the name of its record, and the item as JSON. `incident` is for ever: what a person said of a
    step, and what its participant said of it afterwards, where the two differ. `begun_by` is the id of the message
    that began it, "" in rows of an older release and where none did.
    """

    id: str
    saga: str
    version: int
    key: str
    state: str
    data: bytes
    revision: int = 0
    started_ms: int = 0
    updated_ms: int = 0
    deadline_ms: int = 0
    start_hash: bytes = b""
    steps: tuple[StepRecord, ...] = ()
    cause: str = ""
    reason: str = ""
    stuck_step: str = ""
    stuck_from: str = ""
    incident: str = ""
    content: str = ""
    marks: tuple[tuple[str, str], ...] = ()
    signals: tuple[tuple[str, str, bytes], ...] = ()
    items: tuple[tuple[str, bytes], ...] = ()
    begun_by: str = ""

    @property
    def is_ended(self) -> bool:
        """Whether the instance has come to rest for ever."""
        return self.state in ENDS

    @property
    def is_stuck(self) -> bool:
        """Whether the instance waits for a person; `reason` says why."""
        return self.state == STUCK

    @property
    def is_damaged(self) -> bool:
        """Whether its record could not be read: what is known are its columns, and `reason` says why."""
        return self.version == 0

    @property
    def is_live(self) -> bool:
        """Whether the instance still moves by itself: it has neither ended nor is it stuck."""
        return self.state not in _AT_REST

    def step(self, name: str) -> StepRecord | None:
        """The record of the step `name`, None when it was never sent."""
        for record in self.steps:
            if record.name == name:
                return record
        return None

    def records_of(self, leaf: str) -> tuple[StepRecord, ...]:
        """The records of a fan-out's items, in the order of its list."""
        return tuple(record for record in self.steps if record.name.startswith(f"{leaf}{ITEM_MARK}"))

    def item(self, name: str) -> bytes:
        """The item whose record has this name, as JSON. Raises KeyError."""
        return dict(self.items)[name]

    def mark(self, name: str) -> str | None:
        """What a decision, a wait or a delay has come to, None when it was not asked yet."""
        return next((word for leaf, word in self.marks if leaf == name), None)

    def signal(self, wait: str) -> tuple[str, bytes] | None:
        """The signal that came before `wait` did: its type and its JSON, None when none came."""
        return next(((event_type, data) for name, event_type, data in self.signals if name == wait), None)

    def with_step(self, record: StepRecord) -> "Instance":
        """This instance with `record` put in the place of the one of the same name, or appended."""
        for index, known in enumerate(self.steps):
            if known.name == record.name:
                return replace(self, steps=(*self.steps[:index], record, *self.steps[index + 1 :]))
        return replace(self, steps=(*self.steps, record))
