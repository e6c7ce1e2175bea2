"""What stands in compose.yaml, Dockerfile and deploy/ fits the program: read here, without a container engine.

Prometheus' own check of the alert rules is `make alerts`.
"""

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from sagas.cli.main import COMMANDS
from sagas.cli.replay import load_projections
from sagas.config_layers import read_settings
from sagas.config_table import table
from sagas.metrics.instruments import Instruments
from services.projector.projection import orders_view
from tests.rules.source import ROOT

yaml: Any = importlib.import_module("yaml")  # it has no types of its own

COMPOSE = cast("Mapping[str, Any]", yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))
SERVICES = cast("Mapping[str, Mapping[str, Any]]", COMPOSE["services"])
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "iggy-sagas:0.1.0"}
DEPLOY = ROOT / "deploy"

PUBLISHED = {
    "iggy": {8090, 3000},
    "iggy-web-ui": {3050},
    "storefront": {8000},
    "prometheus": {9090},
    "grafana": {3001},
}
"""The guide's ports, on this machine."""

_METRIC = re.compile(r"\bsagas_[a-z_]+\b")


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_service_is_pinned_watched_without_rights_and_started_again(name: str) -> None:
    service = SERVICES[name]
    image, _, tag = service["image"].partition(":")

    assert image
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), f"{service['image']}: a version, not one that moves"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert str(service["user"]).partition(":")[0] not in ("", "0", "root")
    assert service["restart"] == "unless-stopped"
    assert service["security_opt"]


def test_the_processes_are_those_of_make_up() -> None:
    assert set(OURS) == {"orchestrator", "orders", "inventory", "payments", "shipping", "projector", "storefront"}


@pytest.mark.parametrize("name", list(SERVICES))
def test_only_the_documented_ports_are_published_and_on_loopback_only(name: str) -> None:
    ports = [str(port).split(":") for port in SERVICES[name].get("ports", ())]

    assert {int(published) for _, published, _ in ports} == PUBLISHED.get(name, set())
    assert all(host == "127.0.0.1" for host, _, _ in ports)


@pytest.mark.parametrize("name", list(OURS))
def test_a_process_of_ours_is_started_by_a_command_that_exists(name: str) -> None:
    program, *rest = OURS[name]["command"]

    if program == "sagas":
        assert rest[0] in COMMANDS
        assert importlib.util.find_spec(rest[1]) is not None
    else:
        assert (program, rest[0]) == ("python", "-m")
        assert importlib.util.find_spec(f"{rest[1]}.__main__") is not None


@pytest.mark.parametrize("name", list(OURS))
def test_a_process_of_ours_has_settings_that_are_there_and_right(name: str) -> None:
    environ = {key: str(value) for key, value in OURS[name]["environment"].items()}
    known = {row.variable for row in table()} | {row.file_variable for row in table() if row.is_secret}

    assert set(environ) <= known
    secret = environ.pop("IGGY_CONNECTION_STRING_FILE")
    settings = read_settings(environ).settings

    assert secret == f"/run/secrets/{OURS[name]['secrets'][0]}"
    assert (settings.metrics_port, settings.metrics_host) == (9100, "0.0.0.0")
    assert f":{settings.metrics_port}/health/ready" in str(OURS[name]["healthcheck"]) or name == "storefront"
    assert any(volume.endswith(f":{settings.data_dir}") for volume in OURS[name]["volumes"])


def test_whoever_types_commands_in_a_container_has_the_sagas_and_projections_that_run_there() -> None:
    environ = {name: {key: str(value) for key, value in OURS[name]["environment"].items()} for name in OURS}
    settings = {name: read_settings(environ[name] | {"IGGY_CONNECTION_STRING_FILE": ""}).settings for name in OURS}

    assert list(settings["orchestrator"].definitions) == OURS["orchestrator"]["command"][2:]
    assert [load_projections(name) for name in settings["projector"].projections] == [[orders_view]]


@pytest.mark.parametrize("name", list(SERVICES))
def test_what_a_service_waits_for_uses_and_mounts_is_there(name: str) -> None:
    service = SERVICES[name]

    for other, condition in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert condition["condition"] == "service_healthy"
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    context = service.get("build", {}).get("context")
    assert context is None or (ROOT / context / "Dockerfile").is_file()


def test_no_secret_is_written_in_the_file() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")

    assert not re.search(r"iggy://\S+:\S+@", text)
    assert not re.search(r"(?i)password: *['\"]?[a-z0-9]", text)
    assert all(secret["file"].startswith("deploy/secrets/") for secret in COMPOSE["secrets"].values())
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["Dockerfile", "deploy/iggy/Dockerfile"])
def test_an_image_is_pinned_and_runs_without_rights(path: str) -> None:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]

    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    assert users[-1] == "10001:10001"
    assert all((ROOT / source).exists() for source in copied(lines))


def copied(lines: Sequence[str]) -> list[str]:
    """What a Dockerfile takes from here."""
    ours = [line.split() for line in lines if line.startswith("COPY ") and "--from" not in line]
    return [source for words in ours for source in words[1:-1]]


def test_the_image_gets_what_its_dockerfile_copies_and_nothing_else() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert {part.removeprefix("./") for part in copied(lines)} == kept


def test_prometheus_looks_at_every_process_of_ours() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))

    assert set(config["scrape_configs"][0]["static_configs"][0]["targets"]) == {f"{name}:9100" for name in OURS}
    assert all((DEPLOY / "prometheus" / rules).is_file() for rules in config["rule_files"])


# --------------------------------------------------------------------------- metrics


def series() -> set[str]:
    """The names that our registry gives, those of buckets, sums and counts included."""
    registry = CollectorRegistry()
    Instruments(registry)
    names: set[str] = set()
    for family in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{suffix}" for suffix in suffixes}
    return names


def expressions() -> Iterator[tuple[str, str]]:
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    for group in alerts["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], f"{rule['expr']} {rule['annotations']}"
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "sagas.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_an_alert_and_a_panel_ask_for_metrics_that_exist(name: str, expression: str) -> None:
    base = {re.sub(r"_(bucket|sum|count|total)$", "", known) for known in series()}
    asked = set(_METRIC.findall(expression))

    assert asked or "up{" in expression
    # A remedy may name a histogram as a whole; an expression needs the series itself.
    assert asked <= series() | base, name


def test_every_alert_has_a_remedy_and_a_test_of_prometheus() -> None:
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]

    assert all(rule["annotations"]["remedy"] and rule["labels"]["severity"] in ("page", "ticket") for rule in rules)
    tested = (DEPLOY / "prometheus" / "alerts_test.yaml").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in rules if f"alertname: {rule['alert']}" not in tested] == []


def test_names_follow_the_convention() -> None:
    registry = CollectorRegistry()
    Instruments(registry)
    units = ("_seconds", "_messages", "_rows", "_info", "_open", "_up", "_stuck", "_flight", "_overdue")

    for family in registry.collect():
        assert family.name.startswith("sagas_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_messages"))
        elif family.type == "gauge":
            assert family.name.endswith(units), family.name
