"""Another try for many stuck instances, at a pace that the participant can bear.

Theory of operation. After a participant was away, thousands of instances may be stuck over it. To send all their
commands at once would knock it down again as soon as it stands. So they are retried one by one, `per_second` of them,
each in a transaction of its own, guarded by the revision that was seen: one that has moved on meanwhile, or whose
record is damaged, is passed over, and said so. It can be stopped between any two; what was retried stays so, and
beginning again finds only the others.
"""

from collections.abc import AsyncGenerator, Iterator

import msgspec

from sagas.core.effects import Decision, Operate
from sagas.core.instance import STUCK, Instance, leaf_of
from sagas.errors import DamagedInstance
from sagas.ports import Clock, InstanceFilter, Store
from sagas.runtime.orchestrator import Orchestrator

PER_SECOND_MAX = 1_000
_PAGE = 500


class Retried(msgspec.Struct, frozen=True):
    """One of them: what was decided, or in words why nothing was."""

    instance: Instance
    outcome: Decision | str


def stuck_instances(store: Store, *, saga: str = "", step: str = "") -> Iterator[Instance]:
    """The stuck instances, newest first; only of `saga`, only those stuck over `step`, where given."""
    before_id = ""
    while True:
        wanted = InstanceFilter(saga=saga, state=STUCK, before_id=before_id, count_max=_PAGE)
        page = store.instances(wanted)
        yield from (instance for instance in page if step in ("", instance.stuck_step, leaf_of(instance.stuck_step)))
        if len(page) < _PAGE:
            return
        before_id = page[-1].id


async def retry_paced(
    orchestrator: Orchestrator, instances: Iterator[Instance], *, who: str, reason: str, clock: Clock, per_second: int
) -> AsyncGenerator[Retried, None]:
    """Retry each of `instances`, at most `per_second` (1 to PER_SECOND_MAX) in a second; each as it is done."""
    if not 1 <= per_second <= PER_SECOND_MAX:
        raise ValueError(f"{per_second} retries a second: give 1 to {PER_SECOND_MAX}")
    begun_ms, pause_ms_max = clock.now_ms(), -(-1_000 // per_second)
    for count, instance in enumerate(instances):
        # Against when it began, so that what a transaction takes does not add to the pauses. Where the clock was set
        # back since, that would be a long one.
        early_ms = min(begun_ms + count * 1_000 // per_second - clock.now_ms(), pause_ms_max)
        if early_ms > 0:
            await clock.sleep_ms(early_ms)
        message = Operate(action="retry", who=who, reason=reason, revision=instance.revision)
        try:
            outcome = orchestrator.operate(instance.id, message, clock.now_ms())
        except DamagedInstance as damage:
            outcome = str(damage)  # of this one alone
        yield Retried(instance, outcome)
