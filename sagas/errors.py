"""What this library raises.

Two families are kept apart. *Ours* are exceptions, below. *Theirs* (a message that cannot be
decoded, a participant that refuses) are data: they are recorded, never raised through a loop.

    SagaError
    ├── DefinitionError      a saga is written wrong; raised while its module is imported
    ├── MessageError         a message class or an upcaster is written wrong; raised at import, too
    ├── IllegalMove          the kernel asked the machine for a move it does not have: our bug
    ├── StoreError           the database cannot do what was asked
    │   ├── StaleRevision    somebody else moved the instance first; read again and decide again
    │   ├── OwnershipLost    this orchestrator was held for dead; what it had in hand is void
    │   └── SchemaMismatch   the file was made by a newer release, or is not ours
    ├── DamagedInstance      the stored record of one instance is not what was written; the others go on
    ├── BrokerError          the broker refused
    │   ├── TopicMissing     what is to be written or read is not there
    │   └── BrokerUnavailable  the broker cannot be reached, or the outcome of a call is unknown
    ├── TransactionEnded     a service's own statement has ended the transaction it ran in
    ├── StatementRefused     a service's own statement would have
    └── SettingsError        a setting is missing, unknown or out of range
"""

from typing import cast


class SagaError(Exception):
    """The root of everything this library raises on purpose."""


def told(error: BaseException) -> str:
    """What an error says, to be stored, sent and shown: it may be of anybody's code, and cannot raise another one."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = f"{type(error).__name__}: it cannot say what it is"
    return text.replace("\0", "").encode(errors="replace").decode()


def alone_in(error: Exception) -> Exception:
    """What a task has raised, out of the groups that task groups make of it; the group where several have."""
    found = error
    while len(raised := _raised(found)) == 1:
        (found,) = raised
    return found


def _raised(error: Exception) -> tuple[Exception, ...]:
    # Cast before it is asked: a checker knows nothing of what is in a group that was tested for.
    return cast("ExceptionGroup[Exception]", error).exceptions if isinstance(error, ExceptionGroup) else ()


class DefinitionError(SagaError):
    """A saga is written wrong: says the saga, the step, the line, and what to write instead.

    `where` is "file:line" of the code to change, or "" when there is no single line.
    """

    def __init__(self, saga: str, step: str, problem: str, remedy: str, where: str = "") -> None:
        self.saga = saga
        self.step = step
        self.problem = problem
        self.remedy = remedy
        self.where = where
        subject = f"saga {saga!r}, step {step!r}" if step else f"saga {saga!r}"
        place = f" ({where})" if where else ""
        super().__init__(f"{subject}: {problem}{place}; {remedy}")


class MessageError(SagaError):
    """A message class, or what reads its older versions, is written wrong: says which, and what to write instead."""

    def __init__(self, message: str, problem: str, remedy: str) -> None:
        self.message = message
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"message {message}: {problem}; {remedy}")


class IllegalMove(SagaError):
    """The machine has no such move from this state. Always a bug in this engine."""

    def __init__(self, saga: str, state: str, trigger: str) -> None:
        self.saga = saga
        self.state = state
        self.trigger = trigger
        super().__init__(f"saga {saga!r}: no move {trigger!r} from state {state!r}; this is a bug in the engine")


class StoreError(SagaError):
    """The database cannot do what was asked; the text says what and the remedy."""


class StaleRevision(StoreError):
    """An instance was changed by somebody else between reading and writing it.

    Nothing was written. Read again and decide again; it never counts as a failed message.
    """

    def __init__(self, instance_id: str, expected: int) -> None:
        self.instance_id = instance_id
        self.expected = expected
        super().__init__(f"instance {instance_id}: expected revision {expected}, found another; read it again")


class OwnershipLost(StoreError):
    """This orchestrator was held for dead and others have taken over: the transaction was rolled back.

    It enters anew under another epoch, and reads again what it had polled.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(
            f"this orchestrator (epoch {epoch}) was held for dead, others have taken over; it begins again: "
            "nothing is lost, but look why it stood still"
        )


class TransactionEnded(SagaError):
    """Who writes has no transaction any more: a statement of a service's own has ended it, or an error that it caught.

    Not a StoreError: the database is well, and what the other messages ask for can be done, one by one.
    """


class StatementRefused(SagaError):
    """A service's own statement would end the transaction that holds its barrier and its outbox."""


class SchemaMismatch(StoreError):
    """The database file was made by a newer release, or by something else."""


class DatabaseRestored(SagaError):
    """A participant's database has forgotten answers that the participant gave: it came back from a backup, or is new.

    Nothing was carried out with it. No StoreError, for it does not pass by waiting: a person has to say what is meant.
    """


class DamagedInstance(SagaError):
    """The stored record of one instance is not what was written: a disk or a person has changed it.

    Not a StoreError: trying again would not help, and the other instances can go on.
    """

    def __init__(self, instance_id: str, problem: str) -> None:
        self.instance_id = instance_id
        self.problem = problem
        super().__init__(
            f"the stored instance cannot be read ({problem}): the row of instance {instance_id} is damaged or a newer "
            "release wrote it; install the newer release, or restore a backup"
        )


class BrokerError(SagaError):
    """The broker refused a call; the text names the call and the broker's own words."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached, or a call's outcome is unknown: do it again under the same ids."""


class TopicMissing(BrokerError):
    """A topic is not there, or not any more: whoever writes to it makes it, at its start and whenever it meets this."""

    def __init__(self, stream: str, topic: str) -> None:
        self.topic = topic
        super().__init__(f"topic {topic!r} of stream {stream!r} is not there; its writer makes it (ensure())")


class SettingsError(SagaError):
    """A setting is missing, unknown or out of range; the text names it, the value and the remedy."""
