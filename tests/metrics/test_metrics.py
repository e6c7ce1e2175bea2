"""Metrics: what a shop at work measures of itself, and the pages that show it."""

import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from sagas.broker.memory import MemoryBroker, MemoryWorld
from sagas.config import Settings
from sagas.core.effects import Fire
from sagas.core.instance import STUCK
from sagas.errors import BrokerError, BrokerUnavailable, SettingsError
from sagas.measuring import measured_broker, measured_participant_store, measured_store, waiting_in, watching_of
from sagas.metrics.instruments import Instruments
from sagas.metrics.measured import MeasuredBroker
from sagas.metrics.measured import measured_participant_store as participant_store
from sagas.metrics.measured import measured_store as orchestrator_store
from sagas.metrics.watching import Watching
from sagas.ports import Changes, Outgoing, Position, TimerRow, TopicSpec
from sagas.records import Gauges
from sagas.runtime.orchestrator import Orchestrator
from sagas.runtime.roles import OrchestratorWork, ServiceWork
from sagas.runtime.worker import Work
from sagas.store.gauges import read_gauges
from sagas.store.participant import SqliteParticipantStore
from sagas.store.sqlite import SqliteStore
from sagas.testing.clock import VirtualClock
from sagas.testing.world import Node, World
from services.orders.saga import order_saga
from services.payments.handlers import payments
from services.processes import BROKER, Program, with_metrics
from tests.runtime.shop import a_shop, an_order, foreign
from tests.runtime.test_pulse import ACCEPTED, a_start, an_answer
from tests.runtime.test_pulse import NOW_MS as START_MS
from tests.store.builders import NOW_MS, a_dead_letter, an_instance, an_outbox_row

pytestmark = pytest.mark.anyio


NOTHING_WAITS = Gauges(outbox_rows=0, outbox_oldest_ms=None, letters_open=0)


def measured() -> Instruments:
    return Instruments(CollectorRegistry())


def value(of: Instruments, name: str, **labels: str) -> float:
    return of.registry.get_sample_value(name, labels) or 0.0


async def watch_orchestrator(world: World, to: Instruments) -> None:
    """Put a measured orchestrator in the place of the one that is there."""
    definitions = [order_saga.definition]
    store = orchestrator_store(world.store, to)
    names = Orchestrator(definitions, world.store)
    await replace(world, "orchestrator", lambda: OrchestratorWork(Orchestrator(definitions, store)), names.topics)


async def watch_payments(world: World, to: Instruments) -> None:
    """Put a measured participant in the place of the one that is there."""
    store = participant_store(world.stores["payments"], "payments", to)
    await replace(world, "payments", lambda: ServiceWork(payments, store), ["payments-commands"])


async def replace(world: World, name: str, make_work: Callable[[], Work], reads: Sequence[str]) -> None:
    await world.nodes[name].kill()
    outbox = world.stores.get(name, world.store)
    world.nodes[name] = Node(name, world.broker, world.clock, make_work, outbox, reads, [])
    await world.nodes[name].start()


async def test_a_shop_at_work_counts_what_it_did_once() -> None:
    to, of_payments = measured(), measured()
    async with a_shop() as world:
        await watch_orchestrator(world, to)
        await watch_payments(world, of_payments)
        await world.publish_start("order", an_order("o-1"))
        await world.publish_start("order", an_order("o-2", card="card-declined"))
        broker = MemoryBroker(world.broker)
        await broker.publish([foreign("orders", "x", b"no JSON at all")])
        await world.settle()

    assert value(to, "sagas_started_total", saga="order") == 2
    assert value(to, "sagas_ended_total", saga="order", state="completed") == 1
    assert value(to, "sagas_ended_total", saga="order", state="compensated") == 1
    assert value(to, "sagas_duration_seconds_count", saga="order", state="completed") == 1
    assert value(to, "sagas_step_duration_seconds_count", saga="order", step="reserve", operation="do") == 2
    assert value(to, "sagas_step_duration_seconds_count", saga="order", step="reserve", operation="undo") == 1
    assert value(to, "sagas_dead_letters_total") == 1
    assert value(to, "sagas_commit_duration_seconds_count") > 0
    assert value(of_payments, "sagas_command_answers_total", answer="payment.processed") == 1
    assert value(of_payments, "sagas_command_answers_total", answer="payment.failed") == 1


async def test_no_label_is_an_id_or_a_key() -> None:
    to = measured()
    async with a_shop() as world:
        await watch_orchestrator(world, to)
        for number in range(20):
            await world.publish_start("order", an_order(f"canary-{number}"))
        await world.settle()
    series = [sample for family in to.registry.collect() for sample in family.samples]

    assert value(to, "sagas_ended_total", saga="order", state="completed") == 20
    assert not any("canary" in text for sample in series for text in sample.labels.values())
    assert len(series) < 600


def test_steps_of_a_run_that_are_answered_in_different_parts_of_a_batch_are_all_measured() -> None:
    to = measured()
    reserved = msgspec.structs.replace(an_answer("o-1", ("reserve", "inventory.reserved", "{}")), topic="inventory")
    with closing(SqliteStore(":memory:")) as raw:
        orchestrator = Orchestrator([order_saga.definition], orchestrator_store(raw, to), part_max=1)
        orchestrator.process([a_start("o-1"), an_answer("o-1", ACCEPTED), reserved], START_MS)

    for step in ("create", "reserve"):
        assert value(to, "sagas_step_duration_seconds_count", saga="order", step=step, operation="do") == 1


def test_what_is_rolled_back_is_not_counted_but_as_a_failure() -> None:
    to = measured()
    with closing(SqliteStore(":memory:")) as raw:
        store = orchestrator_store(raw, to)
        with pytest.raises(ZeroDivisionError), store.transaction():
            _ = 1 / 0

    assert value(to, "sagas_commit_failures_total", reason="ZeroDivisionError") == 1
    assert value(to, "sagas_commit_duration_seconds_count") == 0


async def test_a_measured_broker_carries_messages_and_measures_them() -> None:
    to, clock = measured(), VirtualClock(NOW_MS)
    broker = MeasuredBroker(MemoryBroker(MemoryWorld(clock)), to, clock)
    await broker.ensure([TopicSpec(name="t", partitions=1)])
    subscription = await broker.subscribe("g", ["t"])
    message = foreign("t", "k", b"{}")

    await broker.publish([message, message])
    clock.advance(1_500)
    batch = await subscription.poll(10)
    await subscription.commit([Position(topic="t", partition=0, offset=1)])
    again = await subscription.poll(10)
    await subscription.rewind()
    await subscription.close()
    await broker.close()

    assert (len(batch), len(again)) == (2, 0)
    assert value(to, "sagas_published_total") == 2
    assert value(to, "sagas_polls_total", result="messages") == value(to, "sagas_polls_total", result="empty") == 1
    assert value(to, "sagas_batch_messages_sum") == 2
    assert value(to, "sagas_message_delay_seconds_sum") == 1.5
    assert value(to, "sagas_broker_up") == 1


async def test_a_process_that_has_nothing_to_publish_reaches_its_broker_too() -> None:
    to, clock = measured(), VirtualClock(NOW_MS)
    world = MemoryWorld(clock)
    broker = MeasuredBroker(MemoryBroker(world), to, clock)
    said: list[tuple[bool, float]] = []
    for is_there in (True, False, True):
        (world.start if is_there else world.stop)()
        # As the storefront does: its topics at its start, and nothing at all when its health is asked for.
        with suppress(BrokerError):
            await broker.ensure([])
        said.append((to.is_up, value(to, "sagas_broker_up")))

    assert said == [(True, 1), (False, 0), (True, 1)]
    assert value(to, "sagas_broker_failures_total", call="ensure") == 1


async def test_a_broker_that_fails_is_seen() -> None:
    class Gone(MemoryBroker):
        async def publish(self, messages: Sequence[Outgoing]) -> None:
            raise BrokerUnavailable("away")

    to, clock = measured(), VirtualClock(NOW_MS)
    broker = MeasuredBroker(Gone(MemoryWorld(clock)), to, clock)

    with pytest.raises(BrokerError):
        await broker.publish([])

    assert value(to, "sagas_broker_failures_total", call="publish") == 1
    assert not to.is_up


# --------------------------------------------------------------------------- the database's own state


def test_gauges_of_a_database_say_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.db"
    timer = TimerRow(instance_id=an_instance("o-1").id, name="pay", due_ms=NOW_MS + 5, fire=Fire(kind="timeout"))
    with closing(SqliteStore(path)) as store:
        empty = read_gauges(path, NOW_MS, is_orchestrator=True)
        with store.transaction() as transaction:
            created = [an_instance("o-1"), an_instance("o-2", state=STUCK)]
            changes = Changes(now_ms=NOW_MS, created=created, outbox=[an_outbox_row("a")], timers_set=[timer])
            transaction.write(changes)
        full = read_gauges(path, NOW_MS + 1_000, is_orchestrator=True)
    with closing(SqliteParticipantStore(tmp_path / "payments.db")):
        service = read_gauges(tmp_path / "payments.db", NOW_MS, is_orchestrator=False)

    assert empty == service == NOTHING_WAITS
    assert (full.outbox_rows, full.outbox_oldest_ms) == (1, NOW_MS)
    assert (full.in_flight, full.stuck) == (1, {"order": 1})
    assert (full.timers_overdue, full.timer_oldest_ms) == (1, NOW_MS + 5)


def test_what_waits_is_read_from_the_file_that_is_current(tmp_path: Path) -> None:
    files: list[Path | None] = [None, tmp_path / "view-1", tmp_path / "view-2"]
    for path in files[1:]:
        assert path is not None
        with closing(SqliteParticipantStore(path)) as store, store.transaction() as transaction:
            transaction.add_dead_letters([a_dead_letter("no")] * int(path.name[-1]))

    current = iter(files)
    assert [waiting_in("view", lambda: next(current), NOW_MS).letters_open for _ in files] == [0, 1, 2]


# --------------------------------------------------------------------------- the pages


@pytest.fixture
def watching() -> Generator[Watching, None, None]:
    waiting = Gauges(outbox_rows=3, outbox_oldest_ms=0, letters_open=2, in_flight=7, stuck={"order": 1})
    with Watching("orchestrator", "127.0.0.1", 0, lambda now_ms: waiting) as found:
        yield found


def has_ipv6_loopback() -> bool:
    """Whether ::1 can be listened on: a container may have been given no such address."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def get(watching: Watching, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    try:
        with urlopen(f"http://{host}:{watching.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_the_pages_are_served_on_an_address_of_either_kind(host: str) -> None:
    with Watching("node", host, 0, lambda _: NOTHING_WAITS) as watching:
        assert get(watching, "/health/live", "[::1]") == (200, "ok\n")


def test_the_page_is_what_prometheus_reads(watching: Watching) -> None:
    status, text = get(watching, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert status == 200
    assert families["sagas_outbox_rows"].samples[0].value == 3
    assert families["sagas_outbox_oldest_age_seconds"].samples[0].value > 1_000_000
    assert families["sagas_stuck"].samples[0].labels == {"saga": "order"}
    assert families["sagas_build_info"].samples[0].labels["process"] == "orchestrator"
    assert "process_resident_memory_bytes" in families


def test_health_tells_a_process_that_lives_from_one_that_can_work(watching: Watching) -> None:
    assert get(watching, "/health/live") == (200, "ok\n")
    assert get(watching, "/health/ready")[0] == 503
    watching.is_started = True
    watching.instruments.note_broker(is_up=True)
    assert get(watching, "/health/ready")[0] == 200
    watching.instruments.note_broker(is_up=False)
    assert get(watching, "/health/ready") == (503, "not ready\n")
    assert get(watching, "/elsewhere")[0] == 404


def test_a_port_that_is_taken_is_refused_with_the_setting_that_says_it(watching: Watching) -> None:
    with pytest.raises(SettingsError, match=r"SAGAS_METRICS_PORT=\d+: Address already in use; expected"):
        Watching("x", "127.0.0.1", watching.port, lambda now_ms: NOTHING_WAITS)


def test_without_a_port_nothing_is_measured_and_prometheus_client_is_not_needed(tmp_path: Path) -> None:
    with closing(SqliteStore(":memory:")) as store, watching_of("orchestrator", Settings()) as watching:
        assert watching is None
        assert measured_store(store, watching) is store
    with closing(SqliteParticipantStore(":memory:")) as store:
        assert measured_participant_store(store, "t", None) is store
    broker = MemoryBroker(MemoryWorld(VirtualClock(NOW_MS)))
    assert measured_broker(broker, None) is broker
    code = "import sys; sys.modules['prometheus_client'] = None; import sagas.hosting, sagas.cli.run; print('ran')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "ran\n"
    code = code.replace(
        "print('ran')",
        "from sagas.config import Settings\n"
        "from sagas.measuring import watching_of\n"
        "with watching_of('x', Settings(metrics_port=1)): pass",
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'iggy-sagas[web]'" in failed.stderr


def test_each_process_of_make_up_has_a_port_of_its_own() -> None:
    programs = [Program(name=name, command=()) for name in (BROKER, "orchestrator", "orders")]

    ports = [program.environ.get("SAGAS_METRICS_PORT") for program in with_metrics(programs, 9_100)]

    assert ports == [None, "9100", "9101"]
    assert with_metrics(programs, 0) == tuple(programs)
