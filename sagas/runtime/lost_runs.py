"""Runs that have sent commands and are not in the orchestrator's database: it is from a backup, or another one.

Theory of operation. A run is in the database before it asks anybody, and is kept, or its tombstone, for longer than the
topics keep their messages. So a command of a run that is not there tells that the database has gone back, or that
another orchestrator, with a database of its own, works on the same stream. Nobody goes on with such a run, and where
its answers were read already nothing would ever be heard of it. The newest commands are looked through when an
orchestrator begins, and what is missing is said. It begins all the same: what it has goes on by asking again, and is
answered from the participants' memory; the others cannot be made again from here.
"""

import logging
from collections.abc import Callable, Collection, Iterable

from sagas.core.envelope import Envelope, Header, decode_envelope
from sagas.core.ids import is_instance_id
from sagas.core.participants import Participant
from sagas.ports import Incoming
from sagas.runtime.restored import Newest

NEWEST = 200
"""Commands of each partition that are looked at."""

KEYS_SHOWN_MAX = 10
"""Of the runs that are missing: more are counted."""

_log = logging.getLogger("sagas.orchestrator")


async def tell_lost_runs(
    participants: Iterable[Participant], missing: Callable[[Collection[str]], Collection[str]], newest: Newest
) -> int:
    """Say which runs have sent the newest commands and are not known; how many. `missing` tells which of these are not.

    Raises BrokerError and StoreError when they cannot be compared.
    """
    runs: dict[str, str] = {}
    for participant in participants:
        async for messages in newest(participant.commands, NEWEST):
            for message in messages:
                instance_id = message.headers.get(Header.INSTANCE, "")
                if instance_id not in runs and is_instance_id(instance_id):
                    runs[instance_id] = _named(message, participant)
    lost = sorted(runs[instance_id] for instance_id in missing(list(runs)))
    if lost:
        shown = ", ".join(lost[:KEYS_SHOWN_MAX])
        more = f" and {len(lost) - KEYS_SHOWN_MAX} more" if len(lost) > KEYS_SHOWN_MAX else ""
        _log.error(
            "%d of the %d runs that sent the newest commands are not in this database: it came back from a backup, "
            "or is another file, or an orchestrator with another database works on this stream. Nobody goes on with "
            "them, here at least: %s%s",
            *(len(lost), len(runs), shown, more),
        )
    return len(lost)


def _named(message: Incoming, participant: Participant) -> str:
    saga = message.headers.get(Header.SAGA, "")
    envelope = decode_envelope(message.payload, participant.key)
    key = envelope.key if isinstance(envelope, Envelope) else message.headers[Header.INSTANCE]
    return f"{saga} {key!r}"
