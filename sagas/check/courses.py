"""What a course asks for: which steps come after which, and which a completed run has to have done."""

from collections.abc import Set

from sagas.core.course import Both, Course, Fork, Leaf, Then, Ways


def later(course: Course) -> dict[str, set[str]]:
    """For each leaf the ones that come after it, and so must be gone before it is undone.

    Branches have no order among themselves. A way that failed is undone although what follows goes on by the next
    one, so nothing is asked of its leaves but of those of the last.
    """
    match course:
        case Leaf():
            return {course.name: set()}
        case Fork():
            found = {name: after for _, branch in course.branches for name, after in later(branch).items()}
            return found | {course.head.name: set(course.names) - {course.head.name}}
        case _:
            found = {name: after for part in course.parts for name, after in later(part).items()}
    if isinstance(course, Then):
        for index, part in enumerate(course.parts):
            following = {name for after in course.parts[index + 1 :] for name in after.names}
            for name in _bound(part):
                found[name] |= following
    return found


def _bound(course: Course) -> Set[str]:
    """The leaves that are not undone while the run goes on."""
    match course:
        case Leaf():
            return {course.name}
        case Fork():
            return {course.head.name}.union(*(_bound(branch) for _, branch in course.branches))
        case Ways():
            return _bound(course.parts[-1])
        case _:
            return set[str]().union(*map(_bound, course.parts))


def required(course: Course) -> dict[str, bool]:
    """The leaves that every completed run has passed, and whether they must be done: a branch may take up a refusal."""
    match course:
        case Leaf():
            return {course.name: True}
        case Fork():
            return {course.head.name: False}
        case Ways():
            return {}
        case Then() | Both():
            return {name: is_done for part in course.parts for name, is_done in required(part).items()}
