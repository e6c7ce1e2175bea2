"""Finding what a module declares as its `CONFORMANCE`."""

import importlib
import sys
from pathlib import Path

from sagas.errors import SettingsError
from sagas.testing.conformance.examples import Subject

ATTRIBUTE = "CONFORMANCE"


def load_subject(module_name: str) -> Subject:
    """The `CONFORMANCE` of a module, or of its `conformance` module. Raises SettingsError when there is none."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in (module_name, f"{module_name}.conformance"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Only the module that was asked for is a wrong setting; what it imports is its own trouble.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            continue
        found = getattr(module, ATTRIBUTE, None)
        if isinstance(found, Subject):
            return found
    raise SettingsError(
        f"{module_name}: no `{ATTRIBUTE} = Subject(service, migrations, examples)` there or in "
        f"{module_name}.conformance; write it, and run from the folder the module is in"
    )
