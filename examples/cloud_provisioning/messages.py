"""What is said to a cloud while an environment is made."""

import msgspec

from sagas import Command, Event, Key, Participant, Rejection, Text

NETWORKS = Participant("networks", key="environment_id")
MACHINES = Participant("machines", key="environment_id")
NAMES = Participant("names", key="environment_id")


class EnvironmentAsked(Event, tag="environment.asked"):
    """A team needs an environment."""

    environment_id: Key
    size: int


class NetworkMade(Event, tag="network.made"):
    """There is a network."""

    environment_id: Key


class NetworkRefused(Rejection, tag="network.refused"):
    """The quota is used up."""

    environment_id: Key
    reason: Text


class MakeNetwork(Command[NetworkMade | NetworkRefused], tag="network.make"):
    """Make a network."""

    environment_id: Key


class NetworkRemoved(Event, tag="network.removed"):
    """The network is gone."""

    environment_id: Key


class RemoveNetwork(Command[NetworkRemoved], tag="network.remove"):
    """Remove the network."""

    environment_id: Key


class MachineStarted(Event, tag="machine.started"):
    """The machine runs."""

    environment_id: Key


class MachineRefused(Rejection, tag="machine.refused"):
    """There is no capacity."""

    environment_id: Key
    reason: Text


class StartMachine(Command[MachineStarted | MachineRefused], tag="machine.start"):
    """Start a machine, a cheap one that may be taken away or a dear one."""

    environment_id: Key
    size: int
    is_spot: bool


class MachineStopped(Event, tag="machine.stopped"):
    """The machine is gone."""

    environment_id: Key


class StopMachine(Command[MachineStopped], tag="machine.stop"):
    """Stop the machine."""

    environment_id: Key


class MachineReady(Event, tag="machine.ready"):
    """It is set up."""

    environment_id: Key


class SetupFailed(Rejection, tag="machine.setup-failed"):
    """It cannot be set up."""

    environment_id: Key
    reason: Text


class SetUpMachine(Command[MachineReady | SetupFailed], tag="machine.set-up"):
    """Set the machine up."""

    environment_id: Key


class NamePublished(Event, tag="name.published"):
    """The environment can be reached."""

    environment_id: Key


class NameRefused(Rejection, tag="name.refused"):
    """The name is taken."""

    environment_id: Key
    reason: Text


class PublishName(Command[NamePublished | NameRefused], tag="name.publish"):
    """Let the environment be reached."""

    environment_id: Key


class Environment(msgspec.Struct, frozen=True):
    """What the saga remembers of an environment."""

    environment_id: str
    size: int
