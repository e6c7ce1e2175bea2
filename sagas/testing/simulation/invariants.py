"""What must hold after every run, whatever went wrong in it: the promises of the README as checks.

Each check reads the databases and the record of what reached the outside, and yields what contradicts its
promise. None of them asks the engine for its opinion: that a step took effect is known from its
participant's committed transactions, that a message was sent from the topics.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

from sagas.core.definition import Definition, StepSpec
from sagas.core.effects import Fire, Signal
from sagas.core.ids import answer_id, derived_id
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, Instance, leaf_of
from sagas.core.messages import Event, InProgress, Rejection, Undeliverable, tag_of
from sagas.core.outcomes import LIST_REFUSED
from sagas.core.retreat import relation
from sagas.testing.simulation.evidence import Evidence
from sagas.testing.simulation.history import Effect, Violation
from sagas.testing.simulation.messages import MESSAGE_CHECKS
from sagas.testing.simulation.subject import Aftermath
from sagas.testing.simulation.waits import WAIT_CHECKS

Check = Callable[[Evidence], Iterator[Violation]]

_IN_PROGRESS = tag_of(InProgress)


def _means_done(reply: type[Event]) -> bool:
    return not issubclass(reply, Rejection)


def violations(evidence: Evidence) -> Iterator[Violation]:
    """Everything that does not hold. A run that did not come to rest is not looked at any further."""
    yield from (Violation("points", f"{name} is reached and not on the list") for name in evidence.unknown_points)
    yield from (Violation("life", failure) for failure in evidence.history.failures)
    if evidence.problem:
        yield Violation("rest", evidence.problem)
    for check in (*SAGA_CHECKS, *WAIT_CHECKS, *MESSAGE_CHECKS):
        if not evidence.problem or check in ALWAYS:
            yield from check(evidence)


# --------------------------------------------------------------------------- how sagas end


def every_saga_ends(evidence: Evidence) -> Iterator[Violation]:
    """A start that was acknowledged has an instance, which has ended, or is stuck and says why."""
    there = {(instance.saga, instance.key) for instance in evidence.instances}
    for saga, key in evidence.starts:
        if (saga, key) not in there:
            yield Violation("every saga ends", f"saga {saga} was started and is not there", key)
    for instance in evidence.instances:
        if instance.is_stuck and not instance.reason:
            yield Violation("every saga ends", "is stuck and does not say why", instance.key)
        elif not instance.is_ended and not instance.is_stuck:
            yield Violation("every saga ends", f"is still {instance.state}", instance.key)


def effects_fit_the_end(evidence: Evidence) -> Iterator[Violation]:
    """Completed: each step on its way took effect once. Turned back: each that did was undone once, and no other."""
    for instance in evidence.instances:
        for what in _misfits(evidence, instance):
            yield Violation("effects fit the end", f"is {instance.state}, but {what}", instance.key)
    for effect in evidence.history.effects:
        if effect.instance_id not in evidence.by_id:
            yield Violation(
                "effects fit the end", f"{effect.step} was carried out for {effect.instance_id}: no such run"
            )


def _misfits(evidence: Evidence, instance: Instance) -> Iterator[str]:
    effects, definition = evidence.history.effects, evidence.definition_of(instance)
    for name, spec in _steps_of(definition, instance):
        answers = effects.get(Effect(instance.id, name, "do"), [])
        good = [tag for tag, reply in spec.replies.items() if _means_done(reply)]
        done = sum(answer in good for answer in answers)
        undone = _undone(evidence, instance, name)
        begun = sum(answer == _IN_PROGRESS for answer in answers)
        if done > 1 or undone > 1 or begun > 1:
            yield f"{name} took effect {done} times, was begun {begun} times and undone {undone} times"
        elif _leaves_nothing(spec):
            # Whether it was carried out is nobody's loss: a way that timed out may have been.
            if instance.state == COMPLETED and _stands(instance, name) and not done:
                yield f"{name} is said to be done and never took effect"
        elif instance.state == COMPLETED and done - undone != _stands(instance, name):
            yield f"{name} took effect {done} times and was undone {undone} times"
        elif instance.state in (COMPENSATED, REJECTED):
            if done and spec.undo is None:
                yield f"{name} took effect and cannot be undone"
            elif done and not undone:
                yield f"{name} took effect and was not undone"
            elif undone and not done and not begun:
                yield f"{name} was undone and never took effect"


def _steps_of(definition: Definition, instance: Instance) -> Iterator[tuple[str, StepSpec]]:
    """The steps that the run may have taken, a fan-out once for each item, each with the name its participant knows."""
    for spec in definition.steps.values():
        if spec.each is None:
            yield spec.name, spec
        else:
            yield from ((record.name, spec) for record in instance.records_of(spec.name))


def _leaves_nothing(spec: StepSpec) -> bool:
    return spec.undo is None and spec.kind == "compensatable"


def _stands(instance: Instance, step: str) -> int:
    """1 for a step that the run's course led through for good, 0 for one of another branch or way."""
    record = instance.step(step)
    return 1 if record is not None and record.effect == "done" else 0


def _undone(evidence: Evidence, instance: Instance, step: str) -> int:
    spec = evidence.definition_of(instance).steps[leaf_of(step)]
    if spec.undo is None:
        return 0
    good = [tag for tag, reply in spec.undo.replies.items() if _means_done(reply)]
    return sum(answer in good for answer in evidence.history.effects.get(Effect(instance.id, step, "undo"), []))


def undone_in_reverse(evidence: Evidence) -> Iterator[Violation]:
    """What took effect later is undone earlier."""
    for instance in evidence.instances:
        course = evidence.definition_of(instance).course
        # A record keeps the order in which things happened first.
        happened = [(e.step, e.operation) for e in evidence.history.effects if e.instance_id == instance.id]
        undone = [step for step, operation in happened if operation == "undo"]
        too_early = (
            # A way that was begun when the one before it was undone is behind it, and in order.
            relation(course, leaf_of(first), leaf_of(later)) == "after"
            and (later, "do") in happened[: happened.index((first, "undo"))]
            for first, later in combinations(undone, 2)
        )
        if any(too_early):
            yield Violation("reverse order", f"was undone in the order {', '.join(undone)}", instance.key)


def no_open_effect(evidence: Evidence) -> Iterator[Violation]:
    """The ledger of a run that has ended has nothing open: all done, or nothing left."""
    for instance in evidence.instances:
        steps = evidence.definition_of(instance).steps
        for record in instance.steps:
            if record.effect == "unknown" and _leaves_nothing(steps[leaf_of(record.name)]):
                continue
            if instance.state == COMPLETED and record.effect not in ("done", "refused", "undone"):
                yield Violation("ledger", f"completed with {record.name} {record.effect}", instance.key)
            elif (
                instance.state in (COMPENSATED, REJECTED)
                and record.is_open
                and steps[leaf_of(record.name)].undo is not None
            ):
                yield Violation("ledger", f"{instance.state} with {record.name} {record.effect}", instance.key)


def who_was_promised_completes(evidence: Evidence) -> Iterator[Violation]:
    """Goodput: when every participant said yes and no time ran out, the saga is completed, not turned back."""
    for instance in evidence.instances:
        if instance.state == COMPLETED or instance.is_stuck or not instance.is_ended:
            continue
        inputs = [message for _, message, _, _ in evidence.replayed(instance)]
        ran_out = any(isinstance(m, Fire) and m.kind in ("timeout", "deadline", "retry", "absent") for m in inputs)
        if (
            not (ran_out or _came_too_late(evidence, instance))
            and not _was_refused(evidence, instance)
            and not any(word == LIST_REFUSED for _, word in instance.marks)
            and not _failed(evidence, instance)
            and not any(isinstance(m, Signal) and _says_no(evidence, instance, m) for m in inputs)
        ):
            yield Violation(
                "goodput",
                f"is {instance.state}, and nobody refused and no time ran out ({instance.cause})",
                instance.key,
            )


def _says_no(evidence: Evidence, instance: Instance, signal: Signal) -> bool:
    waits = evidence.definition_of(instance).waits.values()
    taken = [wait.signals[signal.event_type] for wait in waits if signal.event_type in wait.signals]
    return any(issubclass(event, Rejection) for event in taken)


def nobody_is_needed(evidence: Evidence) -> Iterator[Violation]:
    """A saga gets stuck only where a participant failed, an undo was refused, or a step waits for a person."""
    for instance in evidence.instances:
        if instance.is_stuck and not _may_be_stuck(evidence, instance):
            yield Violation("goodput", f"is stuck, and no participant failed: {instance.reason}", instance.key)


def _may_be_stuck(evidence: Evidence, instance: Instance) -> bool:
    steps = evidence.definition_of(instance).steps
    waits = evidence.definition_of(instance).waits.values()
    if any(spec.unknown == "hold" for spec in steps.values()) or any(wait.absence == "hold" for wait in waits):
        return True
    refused = any(record.undo_reply and record.effect != "undone" for record in instance.steps)
    return refused or any(record.faults or record.undo_faults for record in instance.steps)


def _was_refused(evidence: Evidence, instance: Instance) -> bool:
    """Whether a participant, and not only the engine, says that it refused."""
    for name, spec in _steps_of(evidence.definition_of(instance), instance):
        answers = evidence.history.effects.get(Effect(instance.id, name, "do"), [])
        if any(answer in spec.replies and not _means_done(spec.replies[answer]) for answer in answers):
            return True
    return False


def _came_too_late(evidence: Evidence, instance: Instance) -> bool:
    """Whether a command was read after its deadline: the participant has nothing else to refuse in such words."""
    steps = evidence.definition_of(instance).steps
    return any(
        record.reply == Undeliverable.__name__ and steps[leaf_of(record.name)].expires for record in instance.steps
    )


def _failed(evidence: Evidence, instance: Instance) -> bool:
    """Whether a participant's own code failed often enough."""
    return bool(evidence.faults.handler_raises) and any(record.faults for record in instance.steps)


def nobody_is_timed_out_whose_answer_waits(evidence: Evidence) -> Iterator[Violation]:
    """A timeout is fired only when everything that had come before it was read."""
    faults = evidence.faults
    # A message that was lost had come, and clocks that jumped do not agree when.
    if faults.can_lose or faults.jump_every_ms:
        return
    for instance in evidence.instances:
        for row, message, before, _ in evidence.replayed(instance):
            if not isinstance(message, Fire) or message.kind != "timeout" or row.verdict != "advance" or before is None:
                continue
            record, spec = before.step(message.step), evidence.definition_of(instance).steps[leaf_of(message.step)]
            if record is None:
                continue
            due_ms = record.sent_ms + spec.timeout_ms
            came_ms = _answered_ms(evidence, instance, message.step)
            if came_ms is not None and came_ms < due_ms:
                what = f"{message.step} timed out although its answer came {due_ms - came_ms} ms before"
                yield Violation("timers", what, instance.key)


def _answered_ms(evidence: Evidence, instance: Instance, step: str) -> int | None:
    command = derived_id(instance.id, step, "do")
    answer = evidence.first_there.get(answer_id(command))
    return None if answer is None else answer.at_ms


# --------------------------------------------------------------------------- what is written about them


def replaying_gives_the_same(evidence: Evidence) -> Iterator[Violation]:
    """Deciding the journal again gives the stored instance, by legal moves and without a gap."""
    for instance in evidence.instances:
        yield from (Violation("journal", what, instance.key) for what in _contradictions(evidence, instance))


def _contradictions(evidence: Evidence, instance: Instance) -> Iterator[str]:
    table = evidence.definition_of(instance).table
    state: Instance | None = None
    seen, was_stuck = set[str](), False
    for number, (row, _, before, after) in enumerate(evidence.replayed(instance), 1):
        state = after
        if row.revision != number:
            yield f"entry {number} has the revision {row.revision}"
        was_stuck = was_stuck or (after is not None and after.is_stuck)
        # What a freed run asks for again may be answered again, under the one id that the answer has.
        if row.message_id and row.message_id in seen and not was_stuck:
            yield f"message {row.message_id} is entered twice"
        seen.add(row.message_id)
        if before is not None and row.path and row.path[0] != before.state:
            yield f"entry {number} begins in {row.path[0]}, the one before ended in {before.state}"
        for trigger, source, dest in zip(row.triggers, row.path, row.path[1:], strict=False):
            if table.get((source, trigger)) != dest:
                yield f"entry {number} moves from {source} by {trigger} to {dest}, which is no move"
    if state != instance:
        yield f"replaying its journal gives {state.state if state else 'nothing'}, stored is {instance.state}"


def own_checks_hold(evidence: Evidence) -> Iterator[Violation]:
    """What the subject itself knows: money, stock."""
    aftermath = Aftermath(instances=evidence.instances, stores=evidence.stores)
    for what in evidence.subject.check(aftermath):
        yield Violation(evidence.subject.name, what)


SAGA_CHECKS: tuple[Check, ...] = (
    every_saga_ends,
    effects_fit_the_end,
    undone_in_reverse,
    no_open_effect,
    who_was_promised_completes,
    nobody_is_needed,
    nobody_is_timed_out_whose_answer_waits,
    replaying_gives_the_same,
    own_checks_hold,
)
ALWAYS: tuple[Check, ...] = (every_saga_ends, *MESSAGE_CHECKS[:1])
"""Also of a run that did not come to rest."""
