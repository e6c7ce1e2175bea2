"""Sagas of every form a course can have, made from one-letter steps so that a test reads as the course.

A step `a` is asked by `DoA` and answered `DoneA`, `OtherA` or `RefusedA`; it is undone by `UndoA`, answered
`UndoneA` or `KeptA`. Everything goes to one participant.
"""

import types
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from sagas import Absence, Command, Event, Flow, Participant, Rejection, Retry, Saga, Step, Wait, unchanged
from sagas.core.definition import Definition, StepKind, Unknown

PLACE = Participant("place", key="k")


class Data(msgspec.Struct, frozen=True):
    """What the sagas here remember: which way a decision goes, and for how long a delay pauses."""

    k: str
    says_yes: bool = True
    pause_s: float = 5.0


class Begun(Event, tag="begun"):
    """Starts each of them."""

    k: str
    says_yes: bool = True


class Agreed(Event, tag="agreed"):
    """A signal."""

    k: str


class Denied(Rejection, tag="denied"):
    """A signal that turns the run back."""

    k: str


def says_yes(data: Data) -> bool:
    """The decision of these sagas."""
    return data.says_yes


def message(name: str, tag: str, base: Any = Event) -> Any:
    """A message class of the business key alone."""
    namespace = {"__annotations__": {"k": str}, "__module__": __name__}
    return types.new_class(name, (base,), {"tag": tag}, lambda body: body.update(namespace))


class Maker:
    """Makes a saga's steps. `replies["a"]` are the classes that step `a` is answered with, by their short names."""

    def __init__(self, name: str = "course", deadline: float | None = None) -> None:
        self.saga: Saga[Data] = Saga(name, Data, version=1, key="k", deadline=deadline)
        self.replies: dict[str, dict[str, type[Event]]] = {}

        @self.saga.start(on=PLACE)
        def begin(event: Begun) -> Data:
            return Data(event.k, event.says_yes)

    def step(
        self,
        name: str,
        *,
        kind: StepKind = "compensatable",
        unknown: Unknown = "undo",
        has_undo: bool = True,
        undo_retry: Retry | None = None,
    ) -> Step[Data, Any]:
        """A step, folded and undone."""
        big = name.capitalize()
        made = {word: message(f"{word}{big}", f"{name}.{word.lower()}") for word in ("Done", "Other", "Undone")}
        made |= {word: message(f"{word}{big}", f"{name}.{word.lower()}", Rejection) for word in ("Refused", "Kept")}
        self.replies[name] = made
        asks: Any = Command
        replies: Any = made["Done"] | made["Other"]
        undo_replies: Any = made["Undone"] | made["Kept"]
        replies = replies if kind == "retriable" else replies | made["Refused"]
        command = message(f"Do{big}", f"{name}.do", asks[replies])
        undo_command = message(f"Undo{big}", f"{name}.undo", asks[undo_replies])

        def build(data: Data) -> Any:
            return command(k=data.k)

        def undo(data: Data) -> Any:
            return undo_command(k=data.k)

        build.__name__ = name
        build.__annotations__["return"], undo.__annotations__["return"] = command, undo_command
        step = cast("Step[Data, Any]", self._decorated(kind, unknown, has_undo, undo_retry)(build))
        step.reply(unchanged)
        if kind == "compensatable" and has_undo:
            cast("Any", step).undo(undo)
        return step

    def _decorated(self, kind: StepKind, unknown: Unknown, has_undo: bool, undo_retry: Retry | None) -> Any:
        if kind == "pivot":
            return self.saga.pivot(to=PLACE, timeout=9, unknown=unknown)
        if kind == "retriable":
            return self.saga.retriable(to=PLACE, timeout=9)
        return self.saga.step(to=PLACE, timeout=9, unknown=unknown, leaves_nothing=not has_undo, undo_retry=undo_retry)

    def steps(self, names: str) -> list[Step[Data, Any]]:
        """Plain steps, one a letter."""
        return [self.step(name) for name in names]

    def reply(self, step: str, word: str) -> Any:
        """One of a step's replies, by its short name."""
        return self.replies[step][word]

    def wait(self, *, absence: Absence, can_deny: bool = True) -> Wait[Data, Any]:
        """A wait called `word`."""

        def word(data: Data, signal: Agreed | Denied) -> Data:
            return data

        def only(data: Data, signal: Agreed) -> Data:
            return data

        only.__name__ = "word"
        decorate: Any = self.saga.wait(on=PLACE, timeout=30, absence=absence)
        return cast("Wait[Data, Any]", decorate(word if can_deny else only))

    def pause(self) -> Flow[Data]:
        """A delay called `pause`."""

        @self.saga.delay
        def pause(data: Data) -> float:
            return data.pause_s

        return pause

    def close(self, course: Flow[Data]) -> Definition:
        """The definition with its flow."""
        self.saga.flow(course)
        return self.saga.definition


def lanes() -> Definition:
    m = Maker()
    a, b, c = m.steps("abc")
    return m.close(a & b >> c)


def joined_lanes() -> Definition:
    m = Maker(deadline=60)
    f, a, c = m.steps("fac")
    b, p = m.step("b", unknown="ask"), m.step("p", kind="pivot", unknown="hold")
    return m.close(f >> (a >> b & c) >> p)


def lane_that_leaves_nothing() -> Definition:
    m = Maker()
    a, b, c = m.step("a", has_undo=False), m.step("b", unknown="hold"), m.step("c")
    return m.close((a & b) >> c)


def lanes_behind_the_pivot() -> Definition:
    m = Maker()
    p, a, b = m.step("p", kind="pivot", unknown="ask"), m.step("a", kind="retriable"), m.step("b", kind="retriable")
    return m.close(p >> (a & b))


def branch_by_reply() -> Definition:
    m = Maker()
    a, b, c = m.steps("abc")
    return m.close(a.on(m.reply("a", "Other"), b) >> c)


def branch_by_refusal() -> Definition:
    m = Maker()
    a, b, c = m.steps("abc")
    r = m.step("r", kind="retriable")
    return m.close(a >> b.on(m.reply("b", "Refused"), c) >> r)


def branch_by_predicate() -> Definition:
    m = Maker()
    a, b, c, d = m.steps("abcd")
    return m.close(a >> m.saga.when(says_yes, b, c) >> d)


def predicate_in_a_lane() -> Definition:
    m = Maker()
    a, b, c = m.steps("abc")
    return m.close((m.saga.when(says_yes, a) & b) >> c)


def wait() -> Definition:
    m = Maker(deadline=60)
    a, b = m.steps("ab")
    return m.close(a >> m.wait(absence="refusal") >> b)


def wait_in_a_lane() -> Definition:
    m = Maker()
    a, b = m.steps("ab")
    return m.close((a & m.wait(absence="hold")) >> b)


def consent_behind_the_pivot() -> Definition:
    m = Maker()
    a, p, r = m.step("a"), m.step("p", kind="pivot", unknown="ask"), m.step("r", kind="retriable")
    return m.close(a >> p >> m.wait(absence="consent", can_deny=False) >> r)


def delay_in_a_lane() -> Definition:
    m = Maker(deadline=60)
    a, b = m.steps("ab")
    return m.close((a & m.pause()) >> b)


def ways() -> Definition:
    m = Maker()
    a, b, c, d = m.steps("abcd")
    return m.close(a >> (b >> c | d))


def ways_in_a_lane() -> Definition:
    m = Maker(deadline=60)
    a, b, c, d = m.steps("abcd")
    return m.close((a & (b | c)) >> d)


def lanes_in_a_way() -> Definition:
    m = Maker()
    a, b, c = m.steps("abc")
    p = m.step("p", kind="pivot", unknown="hold")
    return m.close(((a & b) >> p) | c)


def held_beside_ways() -> Definition:
    m = Maker()
    x, b, c, d = m.step("x", unknown="hold"), *m.steps("bcd")
    return m.close((x & (b | c)) >> d)


def held_beside_longer_ways() -> Definition:
    m = Maker()
    x, b, e, c = m.step("x", unknown="hold"), m.step("b", unknown="ask"), *m.steps("ec")
    return m.close(x & (b >> e | c))


def held_beside_ways_with_a_delay() -> Definition:
    m = Maker()
    x, b, c = m.step("x", unknown="hold"), *m.steps("bc")
    return m.close(x & (m.pause() >> b | c))


def held_beside_a_way_of_lanes() -> Definition:
    m = Maker()
    x, a, b, c = m.step("x", unknown="hold"), m.step("a", unknown="ask"), *m.steps("bc")
    return m.close(x & (a & b | c))


def held_beside_a_way_that_leaves_nothing() -> Definition:
    m = Maker()
    x, b, c = m.step("x", unknown="hold"), m.step("b", has_undo=False), m.step("c")
    return m.close(x & (b | c))


def held_beside_ways_with_a_wait() -> Definition:
    m = Maker()
    x, b, c = m.step("x", unknown="hold"), *m.steps("bc")
    return m.close(x & (m.wait(absence="hold") >> b | c))


def held_before_a_way_that_waits() -> Definition:
    m = Maker()
    x, b, c = m.step("x", unknown="hold"), m.step("b", has_undo=False), m.step("c")
    return m.close(x & (b | m.wait(absence="refusal") >> c))


def held_beside_a_branch_by_refusal() -> Definition:
    m = Maker()
    x, a, c, d = m.step("x", unknown="hold"), *m.steps("acd")
    return m.close((x & a.on(m.reply("a", "Refused"), c)) >> d)


def held_beside_a_refusal_and_a_line() -> Definition:
    m = Maker()
    a, x = m.step("a", unknown="ask", has_undo=False), m.step("x", unknown="hold", has_undo=False)
    b, c = m.steps("bc")
    return m.close(a & x & (b >> c))


def retriable_beside_a_delay() -> Definition:
    m = Maker(deadline=60)
    a, b, r = m.step("a"), m.step("b", unknown="ask"), m.step("r", kind="retriable")
    return m.close(a >> b >> (r & m.pause()))


def retriable_beside_a_wait() -> Definition:
    m = Maker(deadline=60)
    a, r = m.step("a"), m.step("r", kind="retriable")
    return m.close(a >> (r & m.wait(absence="hold", can_deny=False)))


def pivot_in_a_way() -> Definition:
    m = Maker(deadline=60)
    a, c = m.steps("ac")
    return m.close(a >> (m.step("p", kind="pivot", unknown="ask") | c))


def undo_that_gives_up() -> Definition:
    m = Maker()
    a, b = m.step("a", undo_retry=Retry(attempts_max=2)), m.step("b")
    return m.close(a >> b)


COURSES: Mapping[str, Callable[[], Definition]] = {
    make.__name__: make
    for make in (
        lanes,
        joined_lanes,
        lane_that_leaves_nothing,
        lanes_behind_the_pivot,
        branch_by_reply,
        branch_by_refusal,
        branch_by_predicate,
        predicate_in_a_lane,
        wait,
        wait_in_a_lane,
        consent_behind_the_pivot,
        delay_in_a_lane,
        ways,
        ways_in_a_lane,
        lanes_in_a_way,
        held_beside_ways,
        held_beside_longer_ways,
        held_beside_ways_with_a_delay,
        held_beside_a_way_of_lanes,
        held_beside_a_way_that_leaves_nothing,
        held_beside_ways_with_a_wait,
        held_before_a_way_that_waits,
        held_beside_a_branch_by_refusal,
        held_beside_a_refusal_and_a_line,
        retriable_beside_a_delay,
        retriable_beside_a_wait,
        pivot_in_a_way,
        undo_that_gives_up,
    )
}
"""Each form of a course, by its name."""
