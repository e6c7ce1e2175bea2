"""The lines of attack on one command: each returns what was seen, or raises Failed or NotApplicable.

Theory of operation. `Target` is a command with what has to happen before it (an undo's do). Its
reference is what it does when nothing goes wrong: the answer and the tables afterwards. An attack
brings the same command through trouble and compares. Crashes and failures are planted at the first
commit or statement, then at the second, and so on until the participant has no more: whatever a
participant does in pieces, it is interrupted between any two of them.
"""

from collections.abc import Callable, Iterator
from itertools import count

from sagas.core.messages import Rejection, Undeliverable, reply_types, tag_of
from sagas.ports import OutboxRow
from sagas.testing.conformance.bench import (
    Bench,
    Tables,
    difference,
    is_done,
    is_refusal,
    is_same_answer,
    require,
    the_answer,
)
from sagas.testing.conformance.sabotage import Plan
from sagas.testing.conformance.target import NotApplicable, Reference, Target, is_like

INTERRUPTIONS_MAX = 200
"""Moments of one command that are tried: a participant with more is attacked at the first of them."""


_NOT_DONE = tag_of(Undeliverable)

Line = Callable[[Target], str]


def repeat(target: Target) -> str:
    """Delivered again, and twice in one batch: the same answer byte for byte, the effect once."""
    with target.bench() as bench:
        before = bench.tables()
        first = the_answer(bench.deliver(target.incoming(bench)), "the command")
        after = bench.tables()
        again = bench.deliver(target.incoming(bench, 2), target.incoming(bench, 3))
        require(len(again) == 2, f"two repeats got {len(again)} answers")
        for answer in again:
            require(is_same_answer(first, answer), f"{first.event_type}, then {answer.event_type} of other bytes")
        require(bench.tables() == after, f"the repeat changed {difference(after, bench.tables())}")
    reference = target.reference()
    with target.bench() as bench:
        answers = bench.deliver(target.incoming(bench), target.incoming(bench, 2))
        _require_same(reference, answers, bench, "twice in one batch")
    return f"{first.event_type} each time; once: {difference(before, after)}"


def crash_before_commit(target: Target) -> str:
    """The process dies before a commit: the redelivery carries the command out, once."""
    reference = target.reference()
    tried = 0
    for tried, bench in _interrupted(target, lambda n: Plan(crash_before_commit=n)):
        published = bench.published()
        answers = bench.deliver(target.incoming(bench))
        require(len(answers) > 0, f"crash before commit {tried}: the redelivery was not answered")
        _require_same(reference, [*published, *answers], bench, f"crash before commit {tried}")
    require(tried > 0, "it committed nothing")
    return f"{tried} planted; the redelivery ran it once"


def crash_after_commit(target: Target) -> str:
    """The process dies before its reply is published: redelivered or relayed, it is the stored reply."""
    reference = target.reference()
    tried = 0
    for tried, bench in _interrupted(target, lambda n: Plan(crash_after_commit=n)):
        relayed = bench.published()
        answers = bench.deliver(target.incoming(bench))
        require(len(answers) > 0, f"crash after commit {tried}: the redelivery was not answered")
        _require_same(reference, [*relayed, *answers], bench, f"crash after commit {tried}")
    require(tried > 0, "it committed nothing")
    return f"{tried} planted; the stored {reference.answer.event_type} went out"


def handler_raises(target: Target) -> str:
    """The handler raises after any of its statements: nothing is left, and the next attempt does it all."""
    reference = target.reference()
    tried = 0
    for tried, bench in _interrupted(target, lambda n: Plan(raise_after_statement=n)):
        what = f"raised after statement {tried}"
        left = bench.tables()
        require(left == reference.before, f"{what} and left {difference(reference.before, left)}")
        definite = [row.event_type for row in bench.published() if _is_definite(target, row)]
        require(not definite, f"{what} and answered {', '.join(definite)}")
        answers = bench.deliver(target.incoming(bench, 2))
        _require_same(reference, [the_answer(answers, "the next attempt")], bench, what)
    if not tried:
        raise NotApplicable("its handler runs no statement that could fail")
    return f"{tried} planted; nothing left, done at the next attempt"


def another_body(target: Target) -> str:
    """The same operation with another body: a dead letter, no answer, no effect."""
    with target.bench() as bench:
        bench.deliver(target.incoming(bench))
        after, letters = bench.tables(), bench.dead_letters()
        answers = bench.deliver(bench.with_another_body(target.incoming(bench)))
        require(bench.tables() == after, f"it changed {difference(after, bench.tables())}")
        require(not answers, f"it was answered {', '.join(row.event_type for row in answers)}")
        require(bench.dead_letters() == letters + 1, "there is no dead letter of it")
        return "one dead letter, no answer, no effect"


def refusal_repeated(target: Target) -> str:
    """A refusal is repeated after the world has changed: refused as before, nothing done."""
    refused, mend = target.example.refused, target.example.mend
    if refused is None:
        if any(issubclass(reply, Rejection) for reply in reply_types(type(target.command))):
            require(False, "it declares a rejection: give an example that is refused")
        raise NotApplicable("it declares no rejection")
    with target.bench() as bench:
        untouched = bench.tables()
        first = the_answer(bench.deliver(bench.incoming(refused, "do")), "the refused example")
        require(is_refusal(refused, first), f"the refused example was answered {first.event_type}")
        require(bench.tables() == untouched, f"the refusal left {difference(untouched, bench.tables())}")
        if mend is not None:
            bench.change(mend)
        mended = bench.tables()
        again = the_answer(bench.deliver(bench.incoming(refused, "do", attempt=2)), "the repeat")
        require(is_same_answer(first, again), f"{first.event_type}, then {again.event_type}")
        require(bench.tables() == mended, f"the repeat changed {difference(mended, bench.tables())}")
    if mend is None:
        return f"{first.event_type} both times; nothing is said to change its mind"
    with target.bench() as bench:
        bench.change(mend)
        fresh = the_answer(bench.deliver(bench.incoming(refused, "do")), "the refused example")
        require(is_done(refused, fresh), f"mend changes nothing: {fresh.event_type} all the same")
    return f"{first.event_type} both times, though it would be {fresh.event_type} now"


def undo_before_do(target: Target) -> str:
    """The undo of a do that never came: done, remembered, without effect."""
    undo = target.undo
    with target.bench() as bench:
        before = bench.tables()
        first = the_answer(bench.deliver(bench.incoming(undo, "undo")), "the undo")
        require(is_done(undo, first), f"the undo was answered {first.event_type}")
        again = the_answer(bench.deliver(bench.incoming(undo, "undo", attempt=2)), "its repeat")
        require(is_same_answer(first, again), f"{first.event_type}, then {again.event_type} of other bytes")
        require(bench.tables() == before, f"it changed {difference(before, bench.tables())}")
        return f"{first.event_type} both times, no effect"


def do_after_undo(target: Target) -> str:
    """The do comes after its undo, for the first time or once more: no effect."""
    undo = target.undo
    with target.bench() as bench:
        before = bench.tables()
        bench.deliver(bench.incoming(undo, "undo"))
        late = bench.deliver(target.incoming(bench))
        _require_nothing(target, before, late, bench, "after an undo that overtook it")
    with target.bench() as bench:
        bench.deliver(target.incoming(bench))
        bench.deliver(bench.incoming(undo, "undo"))
        before = bench.tables()
        bench.deliver(target.incoming(bench, 2))
        require(bench.tables() == before, f"after its own undo it changed {difference(before, bench.tables())}")
    return "no effect, whether it is new or repeated"


def both_at_once(target: Target) -> str:
    """Do and undo in one batch, in both orders: as if they had come one by one."""
    undo = target.undo
    with target.bench() as bench:
        bench.deliver(target.incoming(bench))
        bench.deliver(bench.incoming(undo, "undo"))
        one_by_one = bench.tables()
    is_repeatable = target.reference().is_repeatable
    with target.bench() as bench:
        do, back = target.incoming(bench), bench.incoming(undo, "undo")
        answers = bench.deliver(do, back, do, back)
        require(len(answers) > 0 and is_done(undo, answers[-1]), "do, undo: the undo was not done")
        found = bench.tables()
        seen = f"do, undo: other than one by one: {difference(one_by_one, found)}"
        require(is_like(one_by_one, found, is_repeatable), seen)
    with target.bench() as bench:
        before = bench.tables()
        answers = bench.deliver(bench.incoming(undo, "undo"), target.incoming(bench))
        require(any(is_done(undo, row) for row in answers), "undo, do: the undo was not done")
        _require_nothing(target, before, answers, bench, "undo, do:")
    return "as one by one in both orders"


def expired(target: Target) -> str:
    """A command that is read after its deadline: refused for ever; one that was done before it stays done."""
    with target.bench() as bench:
        before = bench.tables()
        first = the_answer(bench.deliver(bench.incoming(target.command, "do", left_ms=-1)), "the expired command")
        refused = first.event_type == _NOT_DONE or is_refusal(target.command, first)
        require(refused, f"past its deadline it was answered {first.event_type}")
        require(bench.tables() == before, f"past its deadline it changed {difference(before, bench.tables())}")
        # Sent again with more time, or by a clock that is slow: its saga has turned back on the first answer.
        again = the_answer(bench.deliver(bench.incoming(target.command, "do", attempt=2, left_ms=60_000)), "the repeat")
        require(is_same_answer(first, again), f"{first.event_type}, then {again.event_type}")
        require(bench.tables() == before, f"refused as expired, it changed {difference(before, bench.tables())} later")
    with target.bench() as bench:
        done = the_answer(bench.deliver(bench.incoming(target.command, "do", left_ms=60_000)), "the command in time")
        after = bench.tables()
        again = the_answer(bench.deliver(bench.incoming(target.command, "do", attempt=2, left_ms=-1)), "the repeat")
        require(is_same_answer(done, again), f"{done.event_type} in time, then {again.event_type} past its deadline")
        require(bench.tables() == after, f"the expired repeat changed {difference(after, bench.tables())}")
    return f"{first.event_type} both times, no effect; {done.event_type} for what was done in time"


LINES_OF_BOTH: tuple[tuple[str, Line], ...] = (
    ("repeat", repeat),
    ("crash before commit", crash_before_commit),
    ("crash after commit", crash_after_commit),
    ("handler raises", handler_raises),
    ("same id, another body", another_body),
)
LINES_OF_DO: tuple[tuple[str, Line], ...] = (
    ("undo before do", undo_before_do),
    ("do after undo", do_after_undo),
    ("do and undo at once", both_at_once),
    ("refusal, then repeat", refusal_repeated),
    ("expired command", expired),
)


def _interrupted(target: Target, plan: Callable[[int], Plan]) -> Iterator[tuple[int, Bench]]:
    """A bench for each moment at which the command can be interrupted, just after it was."""
    for number in count(1):
        with target.bench() as bench:
            if number > INTERRUPTIONS_MAX or not bench.deliver_under(plan(number), target.incoming(bench)):
                return
            yield number, bench


def _require_same(reference: Reference, answers: list[OutboxRow], bench: Bench, when: str) -> None:
    for answer in answers:
        seen = f"{when}: answered {answer.event_type}, not {reference.answer.event_type}"
        require(answer.event_type == reference.answer.event_type, seen)
        require(is_same_answer(answers[0], answer), f"{when}: two answers of other bytes")
    found = bench.tables()
    require(reference.is_like(found), f"{when}: other than undisturbed: {difference(reference.after, found)}")


def _require_nothing(target: Target, before: Tables, answers: list[OutboxRow], bench: Bench, when: str) -> None:
    found = bench.tables()
    require(found == before, f"{when} it changed {difference(before, found)}")
    done = [row.event_type for row in answers if is_done(target.example.do, row)]
    require(not done, f"{when} it was answered {', '.join(done)}")


def _is_definite(target: Target, row: OutboxRow) -> bool:
    return is_done(target.command, row) or is_refusal(target.command, row)
