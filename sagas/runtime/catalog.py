"""The definitions that are loaded, and under which of them a run goes on.

Theory of operation. A run belongs to the version and the content it began with. If just that is loaded, it goes on
under it, however many newer ones there are. If not, the newest version that is loaded takes it, provided that it has
all the run needs (`sagas/core/carrying.py`): the shape of the older version is read from the database, where every
orchestrator writes down what it loads (`admission.py`). Otherwise the run waits for a node that
knows its version. The same version with another content never takes a run: somebody forgot to count.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sagas.core.carrying import Problem, problems
from sagas.core.definition import Definition
from sagas.core.instance import Instance
from sagas.core.shape import SagaShape, decode_shape, shape_of
from sagas.errors import DefinitionError, told
from sagas.ports import DefinitionRow


class DefinitionBook(Protocol):
    """What the versions of sagas were that the runs in a database belong to."""

    def definitions(self) -> list[DefinitionRow]:
        """Every version that was ever loaded."""
        ...

    def definition_count(self) -> int:
        """How many versions that are: none is ever taken away."""
        ...

    def keep_definitions(self, rows: Sequence[DefinitionRow]) -> None:
        """Write down those that are not there yet, in a transaction of its own."""
        ...


class Catalog:
    """The loaded definitions. `book` knows what older ones were; without it no run is carried over."""

    def __init__(self, definitions: Sequence[Definition], book: DefinitionBook | None = None) -> None:
        self._by_version: dict[tuple[str, int], Definition] = {}
        self._newest: dict[str, Definition] = {}
        for definition in sorted(definitions, key=lambda d: d.version):
            if (definition.name, definition.version) in self._by_version:
                raise DefinitionError(
                    definition.name, "", f"version {definition.version} is loaded twice", "raise one version"
                )
            self._by_version[definition.name, definition.version] = definition
            self._newest[definition.name] = definition
        self._book = book
        self._old: dict[tuple[str, int, str], SagaShape] = {}
        self._shapes: dict[tuple[str, int], SagaShape] = {}

    @property
    def definitions(self) -> list[Definition]:
        """All of them, each saga's oldest first."""
        return list(self._by_version.values())

    def newest(self, saga: str) -> Definition | None:
        """The version of `saga` that new runs are made of, None when none is loaded."""
        return self._newest.get(saga)

    def exact(self, instance: Instance) -> Definition | None:
        """The definition the run began with, None when it is not loaded."""
        found = self._by_version.get((instance.saga, instance.version))
        return found if found is not None and instance.content in ("", found.content) else None

    def heir(self, instance: Instance) -> Definition | None:
        """The newer definition that can take a run over whose own is not loaded, None when there is none."""
        newest = self._newest.get(instance.saga)
        if newest is None or newest.version <= instance.version or self._book is None:
            return None
        return newest if not self.problems(instance, newest) else None

    def problems(self, instance: Instance, definition: Definition) -> list[Problem]:
        """Why the run cannot go on under `definition`; [] when it can."""
        old = self.shape_before(instance)
        if old is None:
            what = f"version {instance.version} of saga {instance.saga!r}"
            return [Problem(text=f"what {what} was is not known here", remedy=f"load {what}")]
        found = problems(old, self.shape(definition), definition.renames, instance)
        if not found:
            try:
                definition.decode_data(instance.data)
            except (msgspec.MsgspecError, ValueError) as error:
                found = [Problem(text=f"its data cannot be read: {error}", remedy="give the new field a default")]
            except Exception as error:  # the saga author's code: a data class may look at what it is given
                text = f"its data cannot be read: {told(error)}"
                found = [Problem(text=text, remedy="have its class take what older versions wrote")]
        return found

    def shape_before(self, instance: Instance) -> SagaShape | None:
        """What the version the run began with was, None when that was never written down."""
        key = (instance.saga, instance.version, instance.content)
        if key not in self._old and self._book is not None:
            # Read again at each miss: another node may have loaded it meanwhile.
            self._old = {}
            for row in self._book.definitions():
                shape = decode_shape(row.shape)
                self._old[row.saga, row.version, row.content] = shape
                # A run of a release that pinned no content began with the first there was.
                self._old.setdefault((row.saga, row.version, ""), shape)
        return self._old.get(key)

    def shape(self, definition: Definition) -> SagaShape:
        """The shape of a definition that is loaded, made once."""
        key = (definition.name, definition.version)
        if key not in self._shapes:
            self._shapes[key] = shape_of(definition)
        return self._shapes[key]
