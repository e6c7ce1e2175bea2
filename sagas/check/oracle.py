"""Decisions by predicate, both ways: a run asks the oracle instead, and is asked again until every answer was tried."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sagas.core.definition import Definition

T = TypeVar("T")


class Oracle:
    """Answers the predicates of a definition as it is told to, and yes to the ones beyond that."""

    def __init__(self) -> None:
        self._told: Sequence[bool] = ()
        self._asked = 0

    def answer(self, data: Any) -> bool:
        """The answer to the next predicate that is asked."""
        told = self._told[self._asked] if self._asked < len(self._told) else True
        self._asked += 1
        return told

    def instead_of_predicates(self, definition: Definition) -> Definition:
        """`definition` with this oracle in the place of its predicates."""
        choices = {name: replace(choice, test=self.answer) for name, choice in definition.choices.items()}
        return replace(definition, choices=choices)

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
