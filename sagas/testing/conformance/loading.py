"""Finding what a module declares as its `CONFORMANCE`."""

from sagas.errors import SettingsError
from sagas.importing import NoSuchModule, imported
from sagas.testing.conformance.examples import Subject

ATTRIBUTE = "CONFORMANCE"

_REMEDY = "run from the folder the module is in"


def load_subject(module_name: str) -> Subject:
    """The `CONFORMANCE` of a module, or of its `conformance` module.

    Raises SettingsError when there is none, and when a module cannot be imported.
    """
    for name in (module_name, f"{module_name}.conformance"):
        try:
            found = getattr(imported(name, _REMEDY), ATTRIBUTE, None)
        except NoSuchModule:
            continue
        if isinstance(found, Subject):
            return found
    raise SettingsError(
        f"{module_name}: no `{ATTRIBUTE} = Subject(service, migrations, examples)` there or in "
        f"{module_name}.conformance; write it, and {_REMEDY}"
    )
