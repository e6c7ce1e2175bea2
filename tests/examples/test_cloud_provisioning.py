"""Stories of an environment: the cheap way, and from the save-point the dear one."""

import pytest

from examples.cloud_provisioning import messages as m
from examples.cloud_provisioning.saga import environment_saga
from sagas.testing import Scenario

SPOT = m.StartMachine(environment_id="e-1", size=4, is_spot=True)
DEAR = m.StartMachine(environment_id="e-1", size=4, is_spot=False)


def networked() -> "Scenario[m.Environment]":
    story = Scenario(environment_saga).start_event(m.EnvironmentAsked(environment_id="e-1", size=4))
    story.expect(m.MakeNetwork).reply(m.NetworkMade(environment_id="e-1"))
    return story


def test_the_cheap_way_is_enough_where_there_is_capacity() -> None:
    story = networked()
    story.expect(SPOT).reply(m.MachineStarted(environment_id="e-1"))
    story.expect(m.SetUpMachine).reply(m.MachineReady(environment_id="e-1"))
    story.expect(m.PublishName).reply(m.NamePublished(environment_id="e-1"))
    story.expect_completed()


def test_a_cheap_machine_that_cannot_be_set_up_is_stopped_and_a_dear_one_taken() -> None:
    story = networked()
    story.expect(SPOT).reply(m.MachineStarted(environment_id="e-1"))
    story.expect(m.SetUpMachine).reply(m.SetupFailed(environment_id="e-1", reason="taken away"))
    story.expect(m.StopMachine).reply(m.MachineStopped(environment_id="e-1"))
    story.expect(DEAR).reply(m.MachineStarted(environment_id="e-1"))
    story.expect(m.PublishName).reply(m.NamePublished(environment_id="e-1"))
    story.expect_completed()


@pytest.mark.parametrize("reason", ["no capacity"])
def test_no_machine_at_all_removes_the_network_too(reason: str) -> None:
    story = networked()
    story.expect(SPOT).reply(m.MachineRefused(environment_id="e-1", reason=reason))
    story.expect(DEAR).reply(m.MachineRefused(environment_id="e-1", reason=reason))
    story.expect(m.RemoveNetwork).reply(m.NetworkRemoved(environment_id="e-1"))
    story.expect_compensated(cause=reason)


def test_a_name_that_is_taken_undoes_only_the_way_that_was_gone() -> None:
    story = networked()
    story.expect(SPOT).reply(m.MachineRefused(environment_id="e-1", reason="no capacity"))
    story.expect(DEAR).reply(m.MachineStarted(environment_id="e-1"))
    story.expect(m.PublishName).reply(m.NameRefused(environment_id="e-1", reason="taken"))
    story.expect(m.StopMachine).reply(m.MachineStopped(environment_id="e-1"))
    story.expect(m.RemoveNetwork).reply(m.NetworkRemoved(environment_id="e-1"))
    story.expect_compensated(cause="taken")
