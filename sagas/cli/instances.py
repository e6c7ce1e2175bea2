"""Reading the orchestrator's database: which file, which instance, and what its undos are called."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar
from uuid import UUID

import click

from sagas.cli.definitions import load, modules_wanted
from sagas.cli.settings import settings_here
from sagas.core.definition import Definition
from sagas.core.instance import Instance
from sagas.core.story import Names, undo_names
from sagas.errors import StoreError
from sagas.ports import InstanceFilter, Store
from sagas.runtime.catalog import DefinitionBook


class ReadableStore(Store, DefinitionBook, Protocol):
    """The orchestrator's database, with what the versions in it were."""


P = ParamSpec("P")
T = TypeVar("T")

ORCHESTRATOR = "orchestrator"
"""The name of the orchestrator's database file."""


def database_option(command: Callable[P, T]) -> Callable[P, T]:
    """Add `--db FILE` to a command."""
    return click.option(
        "--db",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The orchestrator's database; $SAGAS_DATA/orchestrator.db by default.",
    )(command)


@contextmanager
def reading(db: Path | None) -> Generator[ReadableStore, None, None]:
    """The orchestrator's database, which may be in use, opened for reading. Raises StoreError."""
    # Imported here: only what opens a database pays for it.
    from sagas.store.sqlite import SqliteStore

    store = SqliteStore(db or settings_here().database(ORCHESTRATOR), read_only=True)
    try:
        yield store
    finally:
        store.close()


def find_instance(store: Store, wanted: str, saga: str) -> Instance:
    """The instance with the business key or the id `wanted`; raises StoreError when there is none.

    A key is looked for first: keys are what people have, and a key may look like an id.
    """
    found = store.instance(saga, wanted) or _by_id(store, wanted, saga)
    if found is None:
        of_saga = f" of saga {saga!r}" if saga else ""
        raise StoreError(f"no instance{of_saga} has the key or the id {wanted!r}; `sagas list` shows those there are")
    return found


def _by_id(store: Store, wanted: str, saga: str) -> Instance | None:
    try:
        number = UUID(wanted).int
        behind = UUID(int=number + 1)
    except ValueError:
        return None
    # The list goes on behind an id, newest first: behind the next number stands this one.
    page = store.instances(InstanceFilter(saga=saga, before_id=str(behind), count_max=1))
    return page[0] if page and UUID(page[0].id).int == number else None


def definitions_at_hand() -> Sequence[Definition]:
    """The sagas of this folder and environment, none of them when one cannot be loaded."""
    try:
        return load(modules_wanted((), os.environ, Path.cwd()))
    except Exception:  # any module may be broken in any way, and instances have to be shown all the same
        return ()


def definition_for(instance: Instance, definitions: Sequence[Definition]) -> Definition | None:
    """The definition of this instance's version, or another version's, None when none is at hand."""
    versions = [d for d in definitions if d.name == instance.saga]
    exact = [d for d in versions if d.version == instance.version]
    return next(iter((*exact, *versions)), None)


def names_for(instance: Instance, definitions: Sequence[Definition]) -> Names:
    """What the undos of this instance are called, {} when its definition is not at hand."""
    definition = definition_for(instance, definitions)
    return undo_names(definition) if definition is not None else {}
