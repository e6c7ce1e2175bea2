"""Sagas on Apache Iggy: all of it or none of it, across services.

What a saga's author needs stands here; what runs sagas is in `sagas.runtime`, what tests them in
`sagas.testing`. Importing this module starts nothing and reads no setting.
"""

from sagas.core.definition import Absence, Definition, Unknown
from sagas.core.flow import Delay, EachStep, Flow, Step, Wait, unchanged
from sagas.core.messages import (
    CannotUndo,
    Command,
    Event,
    Fault,
    InProgress,
    Key,
    Message,
    Rejection,
    Text,
    Undeliverable,
)
from sagas.core.participants import Participant
from sagas.core.retry import FOREVER, Retry
from sagas.core.saga import Saga
from sagas.core.upcasting import upcast
from sagas.errors import (
    BrokerError,
    BrokerUnavailable,
    DefinitionError,
    IllegalMove,
    MessageError,
    SagaError,
    SchemaMismatch,
    SettingsError,
    StaleRevision,
    StoreError,
)

__version__ = "0.1.0"

__all__ = [
    "FOREVER",
    "Absence",
    "BrokerError",
    "BrokerUnavailable",
    "CannotUndo",
    "Command",
    "Definition",
    "DefinitionError",
    "Delay",
    "EachStep",
    "Event",
    "Fault",
    "Flow",
    "IllegalMove",
    "InProgress",
    "Key",
    "Message",
    "MessageError",
    "Participant",
    "Rejection",
    "Retry",
    "Saga",
    "SagaError",
    "SchemaMismatch",
    "SettingsError",
    "StaleRevision",
    "Step",
    "StoreError",
    "Text",
    "Undeliverable",
    "Unknown",
    "Wait",
    "__version__",
    "unchanged",
    "upcast",
]
