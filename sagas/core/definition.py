"""A saga after its compilation: what the kernel, the store and the drawings read.

Everything here was checked when the saga's module was imported; nothing here changes afterwards.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec
from transitions import Machine

from sagas.core.course import Course, Place
from sagas.core.instance import ITEM_MARK
from sagas.core.machine import Edge, Table
from sagas.core.messages import Command, Event
from sagas.core.participants import Participant
from sagas.core.retry import Retry
from sagas.core.ways import Beginning, Ways, beginning_of, ways_of

StepKind = Literal["compensatable", "pivot", "retriable"]
"""Richardson's classes ("Microservices Patterns", chapter 4): can be undone · decides · cannot be refused."""

_encode = msgspec.json.Encoder().encode


@lru_cache
def _decoder_of(data_type: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(data_type)


Unknown = Literal["undo", "ask", "hold"]
"""What a step does when its answer did not come in time.

undo     undo it: the participant's barrier makes that safe whether or not it happened
ask      send it again under the same id until the answer is definite
hold     wait for a person
"""

AnyUnknown = Unknown | Literal["resend"]
"""The same, and what a retriable step does, which cannot be refused: it is sent until it is answered."""


@dataclass(frozen=True, slots=True)
class UndoSpec:
    """How a step is undone: the command, its replies by tag, and how often it is tried."""

    build: Callable[..., Command[Event]]
    command_type: type[Command[Any]]
    replies: Mapping[str, type[Event]]
    retry: Retry


@dataclass(frozen=True, slots=True)
class EachSpec:
    """What a step is done for: `items` lists the keys and the items, from the saga's own data.

    `item_type` is what an item is kept as, `at_most` bounds the list.
    """

    items: Callable[[Any], Iterable[tuple[str, Any]]]
    item_type: Any
    at_most: int
    written: tuple[Callable[..., Any], ...] = ()
    """What the author wrote of it: the functions that list the items and name one."""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: its command, its replies by tag, what happens to its answer, and when it is late.

    A step with `each` is done for every item of a list: its functions are given the item behind the data, and
    everything else here is said of one item.
    """

    name: str
    kind: StepKind
    to: Participant
    build: Callable[..., Command[Event]]
    command_type: type[Command[Any]]
    replies: Mapping[str, type[Event]]
    fold: Callable[..., Any]
    undo: UndoSpec | None
    timeout_ms: int
    resend_ms: int
    unknown: AnyUnknown
    retry: Retry
    where: str
    expires: bool = False
    each: EachSpec | None = None


Absence = Literal["refusal", "consent", "hold"]
"""What it means that a signal did not come in time: turn back · go on · wait for a person."""


@dataclass(frozen=True, slots=True)
class WaitSpec:
    """A wait for a signal from outside: the events that are taken for one, by tag, and how long they may take."""

    name: str
    topic: str
    signals: Mapping[str, type[Event]]
    fold: Callable[[Any, Any], Any]
    timeout_ms: int
    absence: Absence
    where: str

    def takes(self, event_type: str, topic: str) -> bool:
        """Whether such an event of this topic is a signal for it; "": of a topic that is not known."""
        return event_type in self.signals and topic in ("", self.topic)


@dataclass(frozen=True, slots=True)
class DelaySpec:
    """A pause: how many seconds, from the saga's own data."""

    name: str
    seconds: Callable[[Any], float]
    where: str


@dataclass(frozen=True, slots=True)
class ChoiceSpec:
    """A decision: what the saga's own data say, by a predicate without side effects."""

    name: str
    test: Callable[[Any], bool]
    where: str


LeafSpec = StepSpec | WaitSpec | DelaySpec | ChoiceSpec


@dataclass(frozen=True, slots=True)
class StartSpec:
    """Which event on which topic begins a run, and the data it begins with."""

    event_type: type[Event]
    topic: str
    fold: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of a saga. `table`, `places` and `lanes` are read off `machine` and `edges` once.

    `lanes` says of each state where the run stands: in one place, or in one for each branch that is under way.
    `places` has the states of one place only.
    """

    name: str
    version: int
    key: str
    data_type: type[Any]
    start: StartSpec
    steps: Mapping[str, StepSpec]
    deadline_ms: int
    edges: tuple[Edge, ...]
    machine: Machine
    table: Table
    places: Mapping[str, Place]
    lanes: Mapping[str, tuple[Place, ...]]
    course: Course
    waits: Mapping[str, WaitSpec]
    delays: Mapping[str, DelaySpec]
    choices: Mapping[str, ChoiceSpec]
    turnable: frozenset[str]
    """The leaves at which a run can still turn back."""
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    """What earlier versions called a step → its name here."""
    content: str = ""
    """The hash of what matters to a run under way (`shape.py`)."""
    ways: Ways = field(init=False, repr=False, compare=False)
    """Where a run goes straight on (`ways.py`): read off the rest, anew in every copy."""
    beginning: Beginning | None = field(init=False, repr=False, compare=False)
    """How a run begins, where it does so straight."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ways", ways_of(self))
        object.__setattr__(self, "beginning", beginning_of(self))

    def leaf(self, name: str) -> LeafSpec:
        """The step, wait, delay or decision of this name. Raises KeyError."""
        return self.steps.get(name) or self.waits.get(name) or self.delays.get(name) or self.choices[name]

    def step_of(self, name: str) -> StepSpec | None:
        """The step that a command or an answer of this name is of: an item's, or one of an earlier version."""
        known = self.steps.get(name)
        if known is not None:
            return known
        leaf, mark, _ = name.partition(ITEM_MARK)
        spec = self.steps.get(self.renames.get(leaf, leaf))
        return spec if spec is None or not mark or spec.each is not None else None

    def takes(self, event_type: str, topic: str) -> bool:
        """Whether a wait of this saga takes such an event of this topic for its signal."""
        return any(wait.takes(event_type, topic) for wait in self.waits.values())

    def topics_of(self, event_type: str) -> tuple[str, ...]:
        """The topics on which such an event is a signal."""
        return tuple(dict.fromkeys(wait.topic for wait in self.waits.values() if event_type in wait.signals))

    def encode_data(self, data: object) -> bytes:
        """The saga's own data as JSON, as an author's function has returned them.

        Raises TypeError and msgspec.ValidationError for what could not be read again: kept, it would be in the way of
        every step and every undo.
        """
        if not isinstance(data, self.data_type):
            raise TypeError(f"it returned {type(data).__name__}, expected {self.data_type.__name__}")
        encoded = _encode(data)
        self.decode_data(encoded)
        return encoded

    def decode_data(self, data: bytes) -> Any:
        """The saga's own data. Raises msgspec.ValidationError when `data` does not fit `data_type`."""
        return _decoder_of(cast(Hashable, self.data_type)).decode(data)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that runs of this saga read, each once: its start topic, its participants' events, its signals."""
        answers = (step.to.events for step in self.steps.values())
        return tuple(dict.fromkeys((self.start.topic, *answers, *(wait.topic for wait in self.waits.values()))))

    @property
    def command_topics(self) -> tuple[str, ...]:
        """The topics that runs of this saga write, each once."""
        return tuple(dict.fromkeys(s.to.commands for s in self.steps.values()))
