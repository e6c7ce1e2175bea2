"""What a planted bug is: a name, and what it replaces while it is planted."""

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from unittest.mock import patch

from sagas.testing.simulation import Subject


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A bug. `replaced` maps "package.module:Class.method" to what stands there instead, given what stood there.

    `subject` is run in place of the demo's shop, for bugs that lie in a definition. `test` is the test that finds
    it where the simulation cannot, with the reason.
    """

    name: str
    replaced: Mapping[str, Callable[[Any], Any]]
    subject: Callable[[Subject], Subject] | None = None
    test: str = ""
    why_not_simulated: str = ""

    @contextmanager
    def planted(self) -> Generator[None, None, None]:
        """Have it there for a while."""
        with ExitStack() as stack:
            for path, make in self.replaced.items():
                owner, name = _find(path)
                stack.enter_context(patch.object(owner, name, make(getattr(owner, name))))
            yield


def always(value: object) -> Callable[[Any], Any]:
    """A function that answers so whatever it is asked."""

    def make(original: Any) -> Any:
        def answer(*_: Any, **__: Any) -> Any:
            return value

        return answer

    return make


def _find(path: str) -> tuple[Any, str]:
    module, _, names = path.partition(":")
    owner: Any = import_module(module)
    *parents, name = names.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name
