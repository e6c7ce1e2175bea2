"""The order saga stays small: whoever reads it sees the whole of it."""

from tests.rules.source import ROOT

LINES_MAX = 40


def test_the_definition_of_the_order_saga_has_at_most_forty_lines() -> None:
    text = (ROOT / "services" / "orders" / "saga.py").read_text(encoding="utf-8")
    definition = text[text.index("order_saga = Saga(") :]
    assert len([line for line in definition.splitlines() if line.strip()]) <= LINES_MAX
