"""Given and expect: a saga's course told as a story, in a few milliseconds and without anything running.

    def test_a_declined_card_puts_everything_back() -> None:
        story = Scenario(order_saga).start_event(OrderCreated(order_id="o-1", …))
        story.expect(CreateOrder(order_id="o-1", …)).to(ORDERS).reply(OrderCreated(order_id="o-1", …))
        story.expect(ReserveInventory).reply(InventoryReserved(order_id="o-1"))
        story.expect(ProcessPayment).reply(PaymentFailed(order_id="o-1", reason="card declined"))
        story.expect(ReleaseInventory).reply(InventoryReleased(order_id="o-1"))
        story.expect(CompensateOrder).reply(OrderCompensated(order_id="o-1"))
        story.expect_compensated(cause="card declined")

The saga is decided by the function that decides it in production; messages pass through the real
envelope. A command that is not looked at is never forgotten: the next `expect` and the end of the
story fail on it. Only repeats of a command (the same id, a later attempt) may be passed over. A type
checker refuses a reply that the expected command does not declare.
"""

from typing import Any, Generic, Literal, TypeVar, overload

from sagas.core.effects import Action, TimerKind, Verdict
from sagas.core.flow import Step
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, Effect, Instance, Operation
from sagas.core.messages import Command, Event, Fault, InProgress
from sagas.core.participants import Participant
from sagas.core.saga import Saga
from sagas.errors import SagaError
from sagas.testing.dictated import Choices, Lists, dictated
from sagas.testing.rehearsal import Entry, Rehearsal, Sent, step_operation

D = TypeVar("D")
R = TypeVar("R", bound=Event)


class Asked(Generic[R]):
    """A command that was expected and came. Answer it now, later, more than once, or never."""

    def __init__(self, rehearsal: Rehearsal, sent: Sent) -> None:
        self._rehearsal = rehearsal
        self.sent = sent

    def to(self, participant: Participant) -> "Asked[R]":
        """Insist on whom it was sent to."""
        __tracebackhide__ = True
        if self.sent.topic != participant.commands:
            name, topic = type(self.sent.command).__name__, self.sent.topic
            problem = f"expected {name} to go to {participant.commands!r}, it went to {topic!r}"
            raise AssertionError(self._rehearsal.picture(problem))
        return self

    def reply(self, reply: R) -> None:
        """Let the participant answer. Fails if the saga cannot make sense of the answer."""
        __tracebackhide__ = True
        self._answer(reply)

    def fault(self, reason: str = "") -> None:
        """Let the participant say that it failed for now and did nothing."""
        __tracebackhide__ = True
        self._answer(Fault(reason=reason))

    def in_progress(self) -> None:
        """Let the participant say that it is at it and will answer later."""
        __tracebackhide__ = True
        self._answer(InProgress())

    def _answer(self, reply: Event) -> None:
        __tracebackhide__ = True
        entry = self._rehearsal.answer(self.sent.step, self.sent.operation, reply)
        if entry.verdict in ("violation", "early"):
            problem = f"the answer to {self.sent.step} {self.sent.operation} is refused: {entry.note}"
            raise AssertionError(self._rehearsal.picture(problem))


class Scenario(Generic[D]):
    """A story about one run of a saga. Each method that fails shows the whole story so far."""

    def __init__(
        self,
        saga: Saga[D],
        *,
        lists: Lists | None = None,
        choices: Choices | None = None,
    ) -> None:
        """`lists`: what fan-outs list instead of asking their functions, each item with its key; `choices`: the same of
        decisions, by the name of their predicate."""
        if not hasattr(saga, "definition"):
            name = getattr(saga, "name", saga)
            raise SagaError(
                f"{name!r} is given as a {type(saga).__name__}, expected the Saga itself: `Scenario(trip_saga)`"
            )
        self._rehearsal = Rehearsal(dictated(saga.definition, lists or {}, choices or {}))

    # ----------------------------------------------------------------- beginning

    def given(self, data: D) -> "Scenario[D]":
        """Begin with the saga's own data. Beginning again repeats the start."""
        self._rehearsal.start(data)
        return self

    def start_event(self, event: Event) -> "Scenario[D]":
        """Begin with the event that starts the saga, through its own start function."""
        __tracebackhide__ = True
        self._rehearsal.start_by(event)
        return self

    # ----------------------------------------------------------------- what the saga does

    @overload
    def expect(self, command: type[Command[R]]) -> Asked[R]: ...

    @overload
    def expect(self, command: Command[R]) -> Asked[R]: ...

    def expect(self, command: type[Command[R]] | Command[R]) -> Asked[R]:
        """The next command the saga sends is this one, or of this class. Repeats of others are passed over."""
        __tracebackhide__ = True
        unread = self._rehearsal.unread
        for index, sent in enumerate(unread):
            if _is_meant(sent, command):
                del unread[: index + 1]
                return Asked(self._rehearsal, sent)
            if sent.attempt == 1:
                raise self._failure(f"expected {_named(command)}, but the next command is\n  {sent}")
        raise self._failure(f"expected {_named(command)}, but no such command was sent")

    def expect_nothing(self) -> "Scenario[D]":
        """The saga has sent nothing more, not even a repeat."""
        __tracebackhide__ = True
        if self._rehearsal.unread:
            raise self._failure(f"expected no command, but this was sent:\n  {self._rehearsal.unread[0]}")
        return self

    def expect_verdict(self, verdict: Verdict) -> "Scenario[D]":
        """How the last thing that happened stood to the run."""
        __tracebackhide__ = True
        found = self.journal[-1].verdict if self.journal else "nothing"
        if found != verdict:
            raise self._failure(f"expected the last thing that happened to be {verdict!r}, it is {found!r}")
        return self

    # ----------------------------------------------------------------- what happens to it

    def after(self, *, seconds: float) -> "Scenario[D]":
        """Let time pass: timers that come due fire in order. Commands they repeat need not be expected."""
        __tracebackhide__ = True
        self._rehearsal.advance(round(seconds * 1000))
        return self

    def late(self, step: str | Step[D, Any], reply: Event, *, operation: Operation | None = None) -> "Scenario[D]":
        """A reply to `step`, or to an item of one (`pack/p-1`), arrives, whatever is awaited now.

        See `expect_verdict` for how it was taken.

        Whether it answers the do or the undo follows from its type; `operation` says it for a Fault.
        """
        __tracebackhide__ = True
        name = step if isinstance(step, str) else step.draft.name
        spec = self._rehearsal.definition.step_of(name)
        if spec is None:
            raise AssertionError(f"saga {self._rehearsal.definition.name!r} has no step {name!r}")
        self._rehearsal.answer(name, operation or step_operation(spec, reply), reply)
        return self

    def repeat_last_reply(self) -> "Scenario[D]":
        """The last reply arrives once more, as brokers do."""
        __tracebackhide__ = True
        last = self._rehearsal.last_answer
        if last is None:
            raise AssertionError("nothing was answered yet: there is no reply to repeat")
        self._rehearsal.answer(*last)
        return self

    def away(self, *, seconds: float) -> "Scenario[D]":
        """Let time pass while the orchestrator is down: nothing fires. Go on with `fires` or `after`."""
        self._rehearsal.now_ms += round(seconds * 1000)
        return self

    def fires(self, timer: str, *, kind: TimerKind | None = None) -> "Scenario[D]":
        """The timer of this name fires now, however long it had yet to go; nothing happens if it is not set.

        A step's timer has the step's name, the deadline's is `saga.deadline`. With `kind="timeout"` it fires
        as often as it takes until the step's patience is over.
        """
        __tracebackhide__ = True
        self._rehearsal.fire(timer, kind)
        return self

    def signal(self, signal: Event, *, on: Participant | None = None) -> "Scenario[D]":
        """An event from outside arrives, which a wait may take; see `expect_verdict` for how it was taken.

        `on` is whose topic it comes on, where waits take it from more than one. Raises AssertionError if that is not
        said, or if it is about another run.
        """
        __tracebackhide__ = True
        self._rehearsal.signal(signal, on.events if on is not None else "")
        return self

    def operate(self, action: Action, *, who: str = "ann", reason: str = "told so") -> "Scenario[D]":
        """A person does this with the run as it stands; see `expect_verdict` for how it was taken."""
        __tracebackhide__ = True
        self._rehearsal.operate(action, who, reason)
        return self

    # ----------------------------------------------------------------- how it ends

    def expect_completed(self) -> None:
        """Everything is done, and nothing is left to be done."""
        __tracebackhide__ = True
        self._expect_state(COMPLETED)

    def expect_compensated(self, cause: str = "") -> None:
        """Everything that was done is undone; `cause` is a part of why."""
        __tracebackhide__ = True
        self._expect_state(COMPENSATED, cause)

    def expect_rejected(self, cause: str = "") -> None:
        """It was refused before anything was done; `cause` is a part of why."""
        __tracebackhide__ = True
        self._expect_state(REJECTED, cause)

    def expect_stuck(self, reason: str = "") -> None:
        """It waits for a person; `reason` is a part of why."""
        __tracebackhide__ = True
        self._expect_state(STUCK, reason)

    # ----------------------------------------------------------------- looking at it

    @property
    def state(self) -> str:
        """The state of the run."""
        return self.instance.state

    @property
    def data(self) -> D:
        """The saga's own data, as it stands now."""
        data: D = self._rehearsal.definition.decode_data(self.instance.data)
        return data

    @property
    def instance(self) -> Instance:
        """The run with its ledger."""
        return self._rehearsal.instance

    @property
    def journal(self) -> tuple[Entry, ...]:
        """Everything that happened, oldest first."""
        return tuple(self._rehearsal.journal)

    @property
    def timers(self) -> dict[str, float]:
        """The timers that are set: their names and in how many seconds they fire."""
        now_ms = self._rehearsal.now_ms
        return {timer.name: (timer.due_ms - now_ms) / 1000 for timer in self._rehearsal.timers.values()}

    def effect(self, step: str) -> Effect | Literal[""]:
        """What the ledger says of a step, "" if it was never sent."""
        record = self.instance.step(step)
        return "" if record is None else record.effect

    def said(self, step: str, operation: Operation = "do") -> set[tuple[str, str]]:
        """What was sent for an operation: (id, command as text). More than one is one too many."""
        sent = (sent for entry in self.journal for sent in entry.sent)
        return {(s.id, repr(s.command)) for s in sent if (s.step, s.operation) == (step, operation)}

    @property
    def undrawn(self) -> list[tuple[str, str, str]]:
        """The moves that were made and are not in the drawing: (trigger, source, dest)."""
        drawn = {(edge.trigger, edge.source, edge.dest) for edge in self._rehearsal.definition.edges}
        made = [
            move for entry in self.journal for move in zip(entry.triggers, entry.path, entry.path[1:], strict=False)
        ]
        return [move for move in made if move not in drawn]

    def __str__(self) -> str:
        return self._rehearsal.picture(f"a run of saga {self._rehearsal.definition.name!r}")

    # ----------------------------------------------------------------- inside

    def _expect_state(self, state: str, why: str = "") -> None:
        __tracebackhide__ = True
        if self.state != state:
            raise self._failure(f"expected the saga to be {state}, it is {self.state}")
        told = self.instance.reason if state == STUCK else self.instance.cause
        if why not in told:
            raise self._failure(f"expected the saga to be {state} because of {why!r}, it says {told!r}")
        # Repeats may be left lying: they were on the way when the answer came.
        fresh = [sent for sent in self._rehearsal.unread if sent.attempt == 1]
        if fresh:
            raise self._failure(f"the saga is {state}, but this was sent and not expected:\n  {fresh[0]}")

    def _failure(self, problem: str) -> AssertionError:
        return AssertionError(self._rehearsal.picture(problem))


def _is_meant(sent: Sent, command: type[Command[Any]] | Command[Any]) -> bool:
    return isinstance(sent.command, command) if isinstance(command, type) else sent.command == command


def _named(command: type[Command[Any]] | Command[Any]) -> str:
    return command.__name__ if isinstance(command, type) else repr(command)
