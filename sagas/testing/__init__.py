"""For tests of sagas: a story told with given and expect, and time that moves by hand."""

from sagas.testing.clock import VirtualClock
from sagas.testing.rehearsal import Entry, Sent
from sagas.testing.scenario import Asked, Scenario
from sagas.testing.world import Node, World

__all__ = ["Asked", "Entry", "Node", "Scenario", "Sent", "VirtualClock", "World"]
