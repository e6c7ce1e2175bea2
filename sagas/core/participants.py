"""Where a step is carried out: a participant's name and its two topics."""

import msgspec


class Participant(msgspec.Struct, frozen=True):
    """A service that carries out steps: `Participant("inventory", key="order_id")`.

    Commands go to `inventory-commands`, its events and replies come from `inventory`. `key` is the
    field that holds the business key in all its messages, and its name in the envelope.
    """

    name: str
    key: str

    @property
    def commands(self) -> str:
        """The topic it reads its commands from."""
        return f"{self.name}-commands"

    @property
    def events(self) -> str:
        """The topic it publishes its events and replies to."""
        return self.name
