"""The arrows between rooms, and what only one room may touch: DESIGN.md says why."""

import ast
from collections.abc import Collection, Iterable, Iterator

import pytest

from tests.rules.source import Module, dotted, imports, is_within, modules, under

# What every room may see.
INSIDE = ("sagas.core", "sagas.errors", "sagas.ports", "sagas.records")

# Who reads the environment and chooses adapters.
ENTRY_POINTS = (
    "sagas.__main__",
    "sagas.cli",
    "sagas.hosting",
    "sagas.guarded",
    "services.analytics.__main__",
    "services.auditlog.__main__",
    "services.chaos",
    "services.demo",
    "services.down",
    "services.inventory.__main__",
    "services.notifications.__main__",
    "services.orders.__main__",
    "services.payments.__main__",
    "services.shipping.__main__",
    "services.producers",
    "services.projector.__main__",
    "services.scaling",
    "services.scaling_worker",
    "services.storefront.__main__",
    "services.up",
)

# Who may look at a clock: the adapter, the engine's own server, and what starts and watches processes.
CLOCK_READERS = (
    "sagas.clock",
    "sagas.metrics",
    # Waits where SQLite does not: nobody whose time is virtual opens a file.
    "sagas.store.opening",
    "sagas.testing",
    "sagas.broker.embedded",
    "services.chaos",
    "services.demo",
    "services.herd",
    "services.pidfile",
    "services.processes",
    "services.producers",
    "services.up",
)

SERVICES = (
    "services.inventory",
    "services.orders",
    "services.payments",
    "services.projector",
    "services.shipping",
    "services.storefront",
)

# The read model's tables and queries: a room that its writer and its reader share, and nobody else.
READ_MODEL = "services.readmodel"
READ_MODEL_USERS = ("services.projector", "services.storefront")

CLOCKS = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
)

IMPURE = (
    "anyio",
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "sys",
    "threading",
    "time",
    "uuid.uuid1",
    "uuid.uuid4",
)

# A list of names that never changes while Python runs.
PURE = ("sys.stdlib_module_names",)


def unwanted(rooms: Iterable[Module], wanted: Collection[str], of: str = "sagas") -> list[str]:
    """Imports of `of` by modules of `rooms` that are not in `wanted`."""
    return [
        f"{module.path}:{found.line} imports {found.name}"
        for module in rooms
        for found in imports(module)
        if is_within(found.name, of) and not is_within(found.name, *wanted)
    ]


def touching(banned: Collection[str], allowed: Collection[str]) -> list[str]:
    """Imports of `banned` by modules that are not `allowed` to."""
    return [
        f"{module.path}:{found.line} imports {found.name}"
        for module in modules()
        if not is_within(module.name, *allowed)
        for found in imports(module)
        if is_within(found.name, *banned)
    ]


def uses(module: Module, names: Collection[str]) -> Iterator[str]:
    """Expressions and imports of `module` that are one of `names`, such as `time.time`."""
    for node in ast.walk(module.tree):
        if dotted(node) in names:
            yield f"{module.path}:{getattr(node, 'lineno', 0)} uses {dotted(node)}"
    for found in imports(module):
        if found.name in names:
            yield f"{module.path}:{found.line} imports {found.name}"


def test_errors_know_nothing_of_the_rest() -> None:
    assert unwanted(under("sagas.errors"), ()) == []


def test_the_core_sees_only_itself_and_the_errors() -> None:
    assert unwanted(under("sagas.core"), ("sagas.core", "sagas.errors")) == []


def test_the_core_is_pure() -> None:
    found = [
        f"{module.path}:{found.line} imports {found.name}"
        for module in under("sagas.core")
        for found in imports(module)
        if is_within(found.name, *IMPURE) and found.name not in PURE
    ]

    assert found == []


def test_the_core_does_no_input_or_output() -> None:
    assert [use for module in under("sagas.core") for use in uses(module, ("open", "print", "input", "exec"))] == []


def test_records_see_the_core_and_ports_see_records() -> None:
    assert unwanted(under("sagas.records"), ("sagas.core", "sagas.errors")) == []
    assert unwanted(under("sagas.broker_ports"), ("sagas.core", "sagas.errors", "sagas.records")) == []
    assert unwanted(under("sagas.ports"), ("sagas.core", "sagas.errors", "sagas.records", "sagas.broker_ports")) == []


@pytest.mark.parametrize("adapter", ["sagas.store", "sagas.broker", "sagas.clock"])
def test_an_adapter_sees_no_other_room_but_core_ports_and_errors(adapter: str) -> None:
    assert unwanted(under(adapter), (adapter, *INSIDE)) == []


def test_the_runtime_sees_no_adapter() -> None:
    assert unwanted(under("sagas.runtime"), ("sagas.runtime", *INSIDE)) == []


def test_the_check_sees_the_core_only_and_is_as_pure() -> None:
    assert unwanted(under("sagas.check"), ("sagas.check", "sagas.core", "sagas.errors")) == []
    impure = [f.name for module in under("sagas.check") for f in imports(module) if is_within(f.name, *IMPURE)]
    assert impure == []


def test_metrics_wrap_ports_and_see_no_adapter_and_no_runtime() -> None:
    assert unwanted(under("sagas.metrics"), ("sagas.metrics", *INSIDE)) == []
    # It is loaded only where it is switched on: the engine runs without prometheus-client.
    found = [
        f"{module.path}:{found.line}"
        for module in modules()
        if not is_within(module.name, "sagas.metrics", "sagas.measuring")
        for found in imports(module)
        if is_within(found.name, "sagas.metrics") and not found.is_typing
    ]
    assert found == []


def test_nobody_but_the_entry_points_sees_the_command_line_or_the_hosting() -> None:
    assert touching(("sagas.cli", "sagas.hosting"), ENTRY_POINTS) == []


def test_the_engine_never_sees_the_demo_application() -> None:
    assert unwanted(under("sagas"), (), of="services") == []


def test_nothing_sees_the_tests() -> None:
    assert touching(("tests",), ()) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_never_sees_another_service(service: str) -> None:
    others = [other for other in SERVICES if other != service]

    found = [
        f"{module.path}:{found.line} imports {found.name}"
        for module in under(service)
        for found in imports(module)
        if is_within(found.name, *others)
    ]

    assert found == []


def test_the_read_model_is_seen_by_its_writer_and_its_reader_only_and_sees_no_service() -> None:
    assert touching((READ_MODEL,), (READ_MODEL, *READ_MODEL_USERS)) == []
    found = [found.name for module in under(READ_MODEL) for found in imports(module)]
    assert [name for name in found if is_within(name, *SERVICES)] == []


def test_only_entry_points_read_the_environment() -> None:
    names = ("os.environ", "os.getenv", "os.environb", "environ", "getenv")
    found = [
        use
        for module in modules()
        if not is_within(module.name, *ENTRY_POINTS)
        for use in uses(module, names)
        # A parameter of the name is what everybody else is handed.
        if not use.endswith("uses environ")
    ]

    assert found == []


def test_only_the_clock_reads_a_clock() -> None:
    found = [use for module in modules() if not is_within(module.name, *CLOCK_READERS) for use in uses(module, CLOCKS)]

    assert found == []


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        (("transitions",), ("sagas.core.machine",)),
        (("sqlite_utils", "pysqlite3", "sqlite3"), ("sagas.store",)),
        (("xxhash",), ("sagas.broker",)),
        (("prometheus_client",), ("sagas.metrics",)),
        (("starlette", "uvicorn"), ("services.storefront",)),
        (("click", "rich_click"), ("sagas.cli", "sagas.testing.simulation.__main__")),
        (("rich",), ("sagas.cli", "sagas.testing.simulation.__main__", "services.chaos", "services.demo")),
    ],
)
def test_a_library_is_touched_in_its_room_only(library: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    # definition.py names the type of the machine it carries, and does nothing with it.
    typing = ("sagas.core.definition",) if library == ("transitions",) else ()

    assert touching(library, (*allowed, *typing)) == []


def test_the_client_of_iggy_is_touched_in_the_files_named_after_it() -> None:
    found = [
        f"{module.path}:{found.line}"
        for module in modules()
        if not module.name.startswith("sagas.broker.iggy")
        for found in imports(module)
        if is_within(found.name, "apache_iggy")
    ]

    assert found == []
