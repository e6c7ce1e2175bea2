"""A saga whose lists and decisions say what a story wants them to say, in the place of the author's functions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sagas.core.definition import Definition

T = TypeVar("T")

Lists = Mapping[str, Sequence[tuple[str, Any]]]
"""Step that is done for each item → the items, each with its key."""

Choices = Mapping[str, bool]
"""The predicate of a decision → whether it says yes."""


def dictated(definition: Definition, lists: Lists, choices: Choices) -> Definition:
    """`definition` with these answers. Raises AssertionError for a name that the saga has not."""
    steps = dict(definition.steps)
    for name, items in lists.items():
        spec = steps.get(name)
        if spec is None or spec.each is None:
            raise AssertionError(f"saga {definition.name!r} has no step {name!r} that is done for each item of a list")
        steps[name] = replace(spec, each=replace(spec.each, items=partial(_said, items)))
    decisions = dict(definition.choices)
    for name, word in choices.items():
        if name not in decisions:
            raise AssertionError(f"saga {definition.name!r} has no decision {name!r}, only {sorted(decisions)}")
        decisions[name] = replace(decisions[name], test=partial(_said, word))
    return replace(definition, steps=steps, choices=decisions) if lists or choices else definition


def _said(answer: T, data: object) -> T:
    return answer
