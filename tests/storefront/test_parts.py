"""The storefront's small parts: its bucket, its settings, its keys."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.config import Settings
from sagas.config_layers import read_settings
from sagas.core.messages import Text
from sagas.errors import SettingsError
from sagas.store.participant import SqliteParticipantStore
from services.contracts import Item
from services.storefront import desk, tables
from services.storefront.limits import TokenBucket
from services.storefront.settings import StorefrontSettings
from services.storefront.shapes import Address, PlaceOrder


@given(st.integers(1, 200), st.integers(1, 50), st.lists(st.integers(0, 300), min_size=1, max_size=200))
def test_a_bucket_never_lets_more_through_than_its_burst_and_its_rate(per_s: int, burst: int, waits: list[int]) -> None:
    bucket, now_ms, passed = TokenBucket(per_s, burst, 0), 0, 0
    for wait_ms in waits:
        now_ms += wait_ms
        wait_s = bucket.take(now_ms)
        passed += not wait_s
        assert passed <= burst + now_ms * per_s / 1000
        # Who comes when told to is let through.
        assert wait_s == 0 or wait_s * per_s >= 1


def test_a_bucket_is_not_filled_by_a_clock_that_is_set_back_and_forth() -> None:
    bucket = TokenBucket(1, 1, 10_000)
    assert bucket.take(10_000) == 0
    assert bucket.take(0) > 0
    assert bucket.take(100) > 0


def test_settings_are_read_with_the_guides_names_and_defaults() -> None:
    assert StorefrontSettings.of(Settings.from_environ({})) == StorefrontSettings()
    assert StorefrontSettings() == StorefrontSettings(
        host="127.0.0.1", port=8000, rate_limit_rps=100, rate_limit_burst=50
    )
    environ = {"SAGAS_STOREFRONT_ADDRESS": "0.0.0.0:0", "RATE_LIMIT_RPS": "7", "RATE_LIMIT_BURST": "9"}
    assert StorefrontSettings.of(Settings.from_environ(environ)) == StorefrontSettings(
        host="0.0.0.0", port=0, rate_limit_rps=7, rate_limit_burst=9
    )


def test_settings_of_the_project_count_for_the_storefront_too(tmp_path: Path) -> None:
    said = 'storefront_address = "0.0.0.0:9000"\nrate_limit_rps = 7\nrate_limit_burst = 9'
    (tmp_path / "pyproject.toml").write_text(f"[tool.sagas]\n{said}\n", encoding="utf-8")
    settings = read_settings({"RATE_LIMIT_BURST": "8"}, folder=tmp_path).settings
    assert StorefrontSettings.of(settings) == StorefrontSettings(
        host="0.0.0.0", port=9000, rate_limit_rps=7, rate_limit_burst=8
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGAS_STOREFRONT_ADDRESS", "8000"),
        ("SAGAS_STOREFRONT_ADDRESS", "localhost:70000"),
        ("RATE_LIMIT_RPS", "0"),
        ("RATE_LIMIT_RPS", "many"),
        ("RATE_LIMIT_BURST", "-1"),
        ("RATE_LIMIT_BURST", "9" * 5000),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        StorefrontSettings.of(Settings.from_environ({name: value}))


def test_a_key_is_forgotten_after_a_month_and_not_before() -> None:
    store = SqliteParticipantStore(":memory:", tables.MIGRATIONS)
    wanted = PlaceOrder(items=(Item("mug", 1),), card="card-ok", address="here")
    first = desk.place(store, "k-1", wanted, 1_000)
    desk.forgetting(store).step(1_000 + tables.KEYS_KEPT_MS)
    assert desk.place(store, "k-1", wanted, 2_000) == first
    desk.forgetting(store).step(1_001 + tables.KEYS_KEPT_MS)
    assert desk.place(store, "k-1", wanted, 2_000) != first
    store.close()


def test_keys_are_forgotten_as_fast_as_orders_can_come() -> None:
    store = SqliteParticipantStore(":memory:", tables.MIGRATIONS)
    wanted = PlaceOrder(items=(Item("mug", 1),), card="card-ok", address="here")
    count = 60 * StorefrontSettings().rate_limit_rps  # a minute's
    for number in range(count):
        desk.place(store, f"k-{number}", wanted, 1_000)
    forgetting, now_ms = desk.forgetting(store), 2_000 + tables.KEYS_KEPT_MS
    steps = 0
    for after_ms in range(0, 60_000, 100):
        if forgetting.is_due(now_ms + after_ms):
            forgetting.step(now_ms + after_ms)
            steps += 1
    with store.transaction() as transaction:
        (left,) = transaction.sql.execute("SELECT count(*) FROM placements").fetchall()
    store.close()

    assert left == (0,)
    assert steps == count // tables.KEYS_FORGOTTEN_MAX + 1, "small transactions, and then it rests"


def test_an_order_that_its_saga_could_not_read_is_not_placed_whatever_the_shapes_let_through() -> None:
    store = SqliteParticipantStore(":memory:", tables.MIGRATIONS)
    outcome = desk.place(store, "k-1", PlaceOrder(items=(Item("mug", 1),), card="card\0ok", address="here"), 0)
    assert isinstance(outcome, tuple)
    assert [error.pointer for error in outcome] == ["#"]
    assert store.unpublished(9) == []
    # Nothing is remembered of it: the same key can place the order that is right.
    right = PlaceOrder(items=(Item("mug", 1),), card="card-ok", address="here")
    assert isinstance(desk.place(store, "k-1", right, 0), tables.Placement)
    store.close()


@given(st.text("a\0 \n\x1f\u3000\u2028\x85", max_size=8))
def test_an_address_that_is_taken_is_one_that_the_saga_reads_and_is_not_blank(address: str) -> None:
    try:
        msgspec.convert(address, Address)
    except msgspec.ValidationError:
        assert "\0" in address or not address.strip()
    else:
        assert msgspec.convert(address, Text).strip()
