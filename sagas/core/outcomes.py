"""What a leaf can come to: the words that stand behind its name in a trigger."""

from collections.abc import Iterable, Mapping

from sagas.core.course import Course, Fork, Leaf
from sagas.core.definition import ChoiceSpec, DelaySpec, LeafSpec, StepSpec, WaitSpec
from sagas.core.messages import Event, Rejection

YES, NO = "yes", "no"
"""Of a decision."""

ABSENT = "absent"
"""Of a wait whose signal did not come."""

OVER = "over"
"""Of a delay."""


DONE = "done"
"""Of a fan-out: every item is done, or there is none."""

REFUSED = "refused"
"""Of a fan-out: an item was refused, and nothing of any other stands."""

PARTLY_REFUSED = "partly-refused"
"""Of a fan-out: an item was refused, and others are done or under way."""

LIST_REFUSED = "list-refused"
"""Of a fan-out: its list cannot be worked off, and nothing was sent."""

ANSWERED = "answered"
"""Of a fan-out that was stuck over an item: the item's answer came."""


WAY_FAILED = "way-failed"
"""Of a leaf that is entered anew when its run is freed: the way that it is in had failed before that."""

UNDONE = {"resolve-undone": "undone", "resolve-cleared": "undone-cleared", "resolve-swept": "undone-swept"}
"""What moves a run that is stuck over an undo when its answer comes after all, by the word of a person that would."""


def resolved_as(leaf: str, word: str) -> str:
    """The move out of `stuck` over a step that a person calls done, where its answer is known and leads elsewhere."""
    return f"{leaf}.resolve-as-{word}"


def by_hand(spec: LeafSpec) -> str:
    """The outcome that stands for "done" when a person says it: the first that is no refusal."""
    match spec:
        case StepSpec() if spec.each is not None:
            return DONE
        case StepSpec():
            return next(r.__name__ for r in spec.replies.values() if not issubclass(r, Rejection))
        case WaitSpec():
            return next((r.__name__ for r in spec.signals.values() if not issubclass(r, Rejection)), ABSENT)
        case DelaySpec():
            return OVER
        case ChoiceSpec():
            return YES


def _answers(spec: LeafSpec) -> Iterable[type[Event]]:
    if isinstance(spec, StepSpec):
        return spec.replies.values()
    return spec.signals.values() if isinstance(spec, WaitSpec) else ()


def handled_refusals(course: Course, specs: Mapping[str, LeafSpec]) -> Iterable[tuple[str, str]]:
    """The refusals that a branch takes up: (leaf, reply's name). They do not turn the run."""
    match course:
        case Leaf():
            return
        case Fork():
            spec = specs[course.head.name]
            taken = {name for name, _ in course.branches}
            for reply in _answers(spec):
                if issubclass(reply, Rejection) and reply.__name__ in taken:
                    yield course.head.name, reply.__name__
            parts = course.in_line
        case _:
            parts = course.parts
    for part in parts:
        yield from handled_refusals(part, specs)
