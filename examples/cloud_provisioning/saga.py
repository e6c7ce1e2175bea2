"""An environment in a cloud: a network and a cheap machine; if that cannot be had or set up, a dear one instead."""

from examples.cloud_provisioning import messages as m
from sagas import Saga, unchanged

environment_saga = Saga("environment", m.Environment, version=1, deadline=1_800)


@environment_saga.start(on=m.NETWORKS)
def begin(event: m.EnvironmentAsked) -> m.Environment:
    return m.Environment(event.environment_id, event.size)


@environment_saga.step(to=m.NETWORKS, timeout=120, unknown="undo")
def network(e: m.Environment) -> m.MakeNetwork:
    return m.MakeNetwork(environment_id=e.environment_id)


@network.undo
def _(e: m.Environment) -> m.RemoveNetwork:
    return m.RemoveNetwork(environment_id=e.environment_id)


@environment_saga.step(to=m.MACHINES, timeout=300, unknown="undo")
def spot(e: m.Environment) -> m.StartMachine:
    return m.StartMachine(environment_id=e.environment_id, size=e.size, is_spot=True)


@spot.undo
def _(e: m.Environment) -> m.StopMachine:
    return m.StopMachine(environment_id=e.environment_id)


@environment_saga.step(to=m.MACHINES, timeout=300, unknown="undo", leaves_nothing=True)
def set_up(e: m.Environment) -> m.SetUpMachine:
    return m.SetUpMachine(environment_id=e.environment_id)


@environment_saga.step(to=m.MACHINES, timeout=300, unknown="undo")
def on_demand(e: m.Environment) -> m.StartMachine:
    return m.StartMachine(environment_id=e.environment_id, size=e.size, is_spot=False)


@on_demand.undo
def _(e: m.Environment) -> m.StopMachine:
    return m.StopMachine(environment_id=e.environment_id)


@environment_saga.pivot(to=m.NAMES, timeout=60, unknown="ask")
def publish(e: m.Environment) -> m.PublishName:
    return m.PublishName(environment_id=e.environment_id)


network.reply(unchanged)
spot.reply(unchanged)
set_up.reply(unchanged)
on_demand.reply(unchanged)
publish.reply(unchanged)
environment_saga.flow(network >> (spot >> set_up | on_demand) >> publish)
