"""What the storefront's handlers work with; made by the entry point, or by a test."""

from collections.abc import Callable

import anyio
import msgspec

from sagas.ports import Broker, Clock, ParticipantStore
from sagas.runtime.offload import Offload
from services.contracts import ORDERS
from services.readmodel.reader import Reader
from services.storefront.limits import Streams, TokenBucket
from services.storefront.probe import Probe
from services.storefront.watch import Watch


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The storefront's own database, its broker and time. `wake` tells the relay that there is something to publish.

    `reader` reads the read model through `looking`, beside what `offload` does with the own database. Writing and
    reading have a bucket each: who floods one of them does not shut the other. `stop` is set when the process is told
    to end.
    """

    store: ParticipantStore
    broker: Broker
    clock: Clock
    offload: Offload
    wake: Callable[[], None]
    writing: TokenBucket
    reading: TokenBucket
    stop: anyio.Event
    reader: Reader
    looking: Offload
    watch: Watch
    streams: Streams
    probe: Probe
    topic: str = ORDERS.events
