"""The simulated world: your sagas under every fault, in virtual time, from one seed."""

from sagas.testing.simulation.faults import Faults, draw_faults
from sagas.testing.simulation.history import Violation
from sagas.testing.simulation.simulation import Run, Simulation, simulate
from sagas.testing.simulation.subject import Aftermath, Subject

__all__ = ["Aftermath", "Faults", "Run", "Simulation", "Subject", "Violation", "draw_faults", "simulate"]
