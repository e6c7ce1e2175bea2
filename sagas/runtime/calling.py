"""Calling a service's own code for a command: what it answers, and what becomes of what it raises.

Theory of operation. A handler runs in a savepoint of the transaction that holds the barrier. A refusal leaves it, so
that what was written before is undone: it says that nothing remains. Whatever a handler raises is a `Fault`: it did
nothing, and the saga sends the command again. So is a reply that the saga could not read, or one for another business
key: once remembered it would be given for ever, by every later release.

Two things are no faults. Where the database is locked, full or gone nothing of the batch may be acknowledged. And where
the handler has ended the transaction, what the batch has done is gone with it: its messages are taken one by one then.
"""

import logging

from sagas.core.envelope import encode_data
from sagas.core.messages import TEXT_LENGTH_MAX, Event, Fault, Rejection
from sagas.errors import StoreError, TransactionEnded, told
from sagas.ports import ParticipantTransaction
from sagas.runtime.delivery import Delivery
from sagas.runtime.handlers import HandlerError, Refused, Ticket

_log = logging.getLogger("sagas.participant")


Answer = tuple[Event, bytes]
"""A reply, and its fields without the business key as JSON."""


def carried_out(transaction: ParticipantTransaction, delivery: Delivery, key_field: str) -> Answer:
    """What the handler of a command answers. Raises StoreError and TransactionEnded, see above."""
    claim, handler = delivery.claim, delivery.handler
    more = (Ticket(claim.instance_id, claim.step),) if handler.takes_ticket else ()
    try:
        with transaction.savepoint():
            reply = handler.function(transaction.sql, delivery.command, *more)
            data = _encoded(delivery, reply, key_field)
            if isinstance(reply, Rejection):
                raise Refused(reply, data)  # noqa: TRY301 - it has to leave the savepoint, which undoes what was written
            return reply, data
    except Refused as refused:
        return refused.reply, refused.data
    except (StoreError, TransactionEnded):
        raise
    except Exception as error:  # the service's own code: this command is tried again, the others go on
        return _fault(delivery, error, key_field)


def nothing_to_undo(delivery: Delivery, key_field: str) -> Answer:
    """What an undo is answered whose do never took effect."""
    try:
        reply = delivery.handler.reply_to_nothing(delivery.command, key_field, delivery.claim.key)
        return reply, _encoded(delivery, reply, key_field)
    except Exception as error:  # the service's own code, as above
        return _fault(delivery, error, key_field)


def _encoded(delivery: Delivery, reply: Event, key_field: str) -> bytes:
    data, asked = delivery.handler.encoded_reply(reply, key_field), delivery.claim.key
    key = str(getattr(reply, key_field, asked))
    if key != asked:
        # The answer goes out under the command's key: nobody would ever see what the handler has mixed up.
        name, said = delivery.handler.function.__name__, type(reply).__name__
        raise HandlerError(f"{name} answered with {said} for {key_field} {key!r}, and was asked for {asked!r}")
    return data


def _fault(delivery: Delivery, error: Exception, key_field: str) -> Answer:
    claim = delivery.claim
    _log.error("%s %s of %s failed", claim.step, claim.operation, claim.instance_id, exc_info=error)
    fault = Fault(reason=told(error)[:TEXT_LENGTH_MAX])
    return fault, encode_data(fault, key_field)
