"""Decisions by predicate and lists of items, every way: a run asks the oracle instead, until every answer was tried."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sagas.check.samples import Samples
from sagas.core.definition import Definition, EachSpec, StepSpec

T = TypeVar("T")

ITEMS_MAX = 2
"""Of a fan-out, in items: two are enough for one to be refused while another is under way."""


class Oracle:
    """Answers for the author's functions as it is told to, and yes to what is asked beyond that."""

    def __init__(self) -> None:
        self._told: Sequence[bool] = ()
        self._asked = 0

    def answer(self, data: Any) -> bool:
        """The answer to the next predicate that is asked."""
        told = self._told[self._asked] if self._asked < len(self._told) else True
        self._asked += 1
        return told

    def instead_of_the_author(self, definition: Definition, samples: Samples) -> Definition:
        """`definition` with this oracle in the place of its predicates and of the functions that list items."""
        choices = {name: replace(choice, test=self.answer) for name, choice in definition.choices.items()}
        steps = {name: self._listing(step, samples) for name, step in definition.steps.items()}
        return replace(definition, choices=choices, steps=steps)

    def _listing(self, step: StepSpec, samples: Samples) -> StepSpec:
        if step.each is None:
            return step
        return replace(step, each=replace(step.each, items=partial(self._listed, step.each, samples)))

    def _listed(self, each: EachSpec, samples: Samples, data: Any) -> Sequence[tuple[str, Any]]:
        """As many items as it is told, the author's own before samples; or a list that cannot be worked off."""
        own = list(each.items(data))[:ITEMS_MAX]
        items = [*own, *samples.items(each.item_type, ITEMS_MAX)][:ITEMS_MAX]
        if each.at_most >= ITEMS_MAX and self.answer(data):
            return items
        if self.answer(data):
            return items[:1]
        return [] if self.answer(data) else [items[0], items[0]]

    def tell(self, answers: Sequence[bool]) -> None:
        """What to answer from now on."""
        self._told, self._asked = answers, 0

    def every_way(self, ask: Callable[[], T]) -> Iterator[tuple[tuple[bool, ...], T]]:
        """`ask`, again and again, until every sequence of answers was given: the answers, and what came of them."""
        left: list[tuple[bool, ...]] = [()]
        while left:
            prefix = left.pop()
            self.tell(prefix)
            result = ask()
            given = prefix + (True,) * (self._asked - len(prefix))
            left += [(*given[:index], False) for index in range(len(prefix), len(given))]
            yield given, result
