"""Where a step is carried out: a participant's name and its two topics."""

import msgspec

from sagas.errors import SagaError

TOPIC_BYTES_MAX = 255
"""Of a topic's name, in UTF-8; a number alone is taken by Iggy's client for another way to name one."""


class Participant(msgspec.Struct, frozen=True):
    """A service that carries out steps: `Participant("inventory", key="order_id")`.

    Commands go to `inventory-commands`, its events and replies come from `inventory`. `key` is the
    field that holds the business key in all its messages, and its name in the envelope. Raises SagaError for a name
    that no topic can have.
    """

    name: str
    key: str

    def __post_init__(self) -> None:
        if not self.name or self.name.isdigit() or len(self.commands.encode()) > TOPIC_BYTES_MAX:
            raise SagaError(
                f"participant {self.name[:64]!r}: its topics cannot have this name; it has not only digits, and with "
                f"'-commands' {TOPIC_BYTES_MAX} bytes at most"
            )

    @property
    def commands(self) -> str:
        """The topic it reads its commands from."""
        return f"{self.name}-commands"

    @property
    def events(self) -> str:
        """The topic it publishes its events and replies to."""
        return self.name
