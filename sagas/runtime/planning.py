"""What a person's action would do, before it is done; and the input that puts a run under another definition."""

import msgspec

from sagas.core.effects import CarryOver, Decision, Operate
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.runtime.admission import stranding
from sagas.runtime.catalog import Catalog


def plan(catalog: Catalog, instance: Instance, message: Operate, now_ms: int) -> Decision | str:
    """What an action would do, without doing it; in words why it cannot be done."""
    if instance.is_damaged:
        return instance.reason
    definition = catalog.exact(instance)
    if definition is None:
        definition = catalog.heir(instance)
        if definition is None:
            return _why_not(catalog, instance)
        carried = decide(definition, instance, carry_over_of(instance), now_ms).instance
        assert carried is not None
        if message.revision == instance.revision:
            # The person saw the run as it was before; carrying it over is nothing that happened to it meanwhile.
            message = msgspec.structs.replace(message, revision=carried.revision)
        instance = carried
    decision = decide(definition, instance, message, now_ms)
    return decision.note if decision.verdict == "violation" else decision


def _why_not(catalog: Catalog, instance: Instance) -> str:
    """Why nothing can be decided of a run under what is loaded, and what to load."""
    what = f"saga {instance.saga!r} version {instance.version}"
    newest = catalog.newest(instance.saga)
    if newest is None:
        return f"{what} is not loaded here; name its module with --module or SAGAS_DEFINITIONS"
    why = "; ".join(problem.text for problem in stranding(catalog, newest, instance))
    return f"{what} as it began is not loaded here ({why}); name its module, of that release, with --module"


def carry_over_of(instance: Instance) -> CarryOver:
    """The input that puts a run under another definition."""
    return CarryOver(from_version=instance.version, from_content=instance.content)
