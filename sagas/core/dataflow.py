"""Which fields of the saga's data its functions read and write, as far as their source shows."""

from collections.abc import Mapping
from typing import Any

from sagas.core.course import Course
from sagas.core.definition import StartSpec
from sagas.core.drafts import Draft


def check_data_flow(course: Course, drafts: Mapping[str, Draft], start: StartSpec, data_type: type[Any]) -> None:
    """Refuse."""
