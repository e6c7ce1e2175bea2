"""What a function reads, however it comes by it, is a part of what it does; nothing else is, and nothing by chance."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagas.core.code import code_of
from tests.core.test_code import written

CASES = {
    "a generator": """
def price(item): return item * ONE
def fold(data, reply): return data if sum(price(item) for item in [1]) else data
""",
    "a lambda": """
def price(item): return item * ONE
def fold(data, reply): return max([data], key=lambda item: price(1))
""",
    "a list comprehension": """
def price(item): return item * ONE
def fold(data, reply): return [price(item) or data for item in [1]][0]
""",
    "a function inside": """
def price(item): return item * ONE
def fold(data, reply):
    def inner(): return price(1)
    return data if inner() else data
""",
    "a module": """
import types
helpers = types.ModuleType("helpers")
def price(item): return item * ONE
helpers.rate = price
del price
def fold(data, reply): return data if helpers.rate(1) else data
""",
    "a module in a module": """
import types
shop, inner = types.ModuleType("shop"), types.ModuleType("inner")
def price(item): return item * ONE
shop.inner, inner.rate = inner, price
del price, inner
def fold(data, reply): return data if shop.inner.rate(1) else data
""",
    "a static method": """
class Rules:
    @staticmethod
    def rate(item): return item * ONE
def fold(data, reply): return data if Rules.rate(1) else data
""",
    "a class method of a base": """
class Base:
    @classmethod
    def rate(cls, item): return item * ONE
class Rules(Base): pass
def fold(data, reply): return data if Rules.rate(1) else data
""",
    "a property": """
class Rules:
    @property
    def rate(self): return ONE
def fold(data, reply): return data if Rules().rate else data
""",
    "what a class does when it is made": """
class Rules:
    def __init__(self): self.rate = ONE
def fold(data, reply): return data if Rules().rate else data
""",
    "a constant of a class": """
class Rules:
    rate = ONE
def fold(data, reply): return data if Rules.rate else data
""",
    "a member of an enumeration": """
import enum
class Rate(enum.Enum):
    low = ONE
def fold(data, reply): return data if Rate.low.value else data
""",
    "a table": """
RATES = {"a": {"b": ONE}}
def fold(data, reply): return data if RATES["a"] else data
""",
    "a list": """
RATES = [0, [ONE]]
def fold(data, reply): return data if RATES[0] else data
""",
    "a record": """
import msgspec
class Rates(msgspec.Struct):
    low: int
RATES = Rates(low=ONE)
def fold(data, reply): return data if RATES else data
""",
    "an amount": """
from decimal import Decimal
RATE = Decimal(ONE)
def fold(data, reply): return data if RATE else data
""",
    "a pattern": """
import re
NAME = re.compile("a" * ONE)
def fold(data, reply): return data if NAME else data
""",
    "a day": """
from datetime import datetime, timezone
FROM = datetime(2026, 1, ONE, tzinfo=timezone.utc)
def fold(data, reply): return data if FROM else data
""",
    "a method of an object": """
class Rules:
    def rate(self, item): return item * ONE
RULES = Rules()
def fold(data, reply): return data if RULES.rate(1) else data
""",
    "an object that is called": """
class Rules:
    def __call__(self, item): return item * ONE
RULES = Rules()
def fold(data, reply): return data if RULES(1) else data
""",
    "a method of the data": """
class Order:
    def rate(self): return ONE
def fold(data: Order, reply): return data if data.rate() else data
""",
    "a method of the data, whose class is written as text": """
class Order:
    def rate(self): return ONE
def fold(data: "Order", reply): return data if data.rate() else data
""",
    "a default": """
LIMIT = ONE
def fold(data, reply, limit=LIMIT): return data if limit else data
""",
    "a cached function": """
from functools import cache
@cache
def price(item): return item * ONE
def fold(data, reply): return data if price(1) else data
""",
    "a wrapped function": """
from functools import wraps
def kept(function):
    @wraps(function)
    def shown(*given): return function(*given) * ONE
    return shown
@kept
def price(item): return item
def fold(data, reply): return data if price(1) else data
""",
    "a function with arguments to come": """
from functools import partial
def rate(times, item): return item * times
price = partial(rate, ONE)
def fold(data, reply): return data if price(1) else data
""",
}


def loaded(folder: Path, text: str) -> Any:
    """The module that has this text."""
    path = folder / f"release_{len(list(folder.iterdir()))}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("release", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fold_code(folder: Path, text: str) -> str:
    return code_of(written(fold=loaded(folder, text).fold))["a.fold"]


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_through_anything_is_noticed_when_it_is_changed(case: str, tmp_path: Path) -> None:
    text = CASES[case]

    same = {fold_code(tmp_path, text.replace("ONE", "1")) for _ in range(2)}
    other = fold_code(tmp_path, text.replace("ONE", "2"))

    assert len(same) == 1
    assert other not in same


LIBRARY = """
import dataclasses, json
RATES = frozenset({"low", "high", "higher", "highest"})
NAMES = {"low": {1, 2, "three"}}
@dataclasses.dataclass
class Rule:
    name: str = "low"
class Odd:
    pass
ODD = Odd()
def fold(data, reply):
    return data if json.dumps(dataclasses.asdict(Rule("low"))) and RATES and NAMES and ODD else data
"""


def test_the_hash_is_the_same_in_every_process(tmp_path: Path) -> None:
    script = "from pathlib import Path; from tests.core.test_code_read import LIBRARY, fold_code; import sys"
    said = {
        subprocess.run(
            [sys.executable, "-c", f"{script}; print(fold_code(Path(sys.argv[1]), LIBRARY))", str(tmp_path)],
            env=dict(os.environ, PYTHONHASHSEED=seed),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(said) == 1


def test_what_python_brings_along_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    def another(value: object) -> dict[str, object]:
        return {"value": value}

    before = fold_code(tmp_path, LIBRARY)
    another.__module__, another.__qualname__ = "dataclasses", "asdict"
    monkeypatch.setattr(dataclasses, "asdict", another)

    assert fold_code(tmp_path, LIBRARY) == before


def test_functions_that_call_each_other_and_tables_without_end_are_told_in_time(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(40)]
    calls = "\n".join(f"def {name}(x): return {', '.join(f'{other}(x)' for other in names)}" for name in names)
    text = f"{calls}\nALL = []\nALL.append(ALL)\nBIG = list(range(100_000))\n"

    assert fold_code(tmp_path, f"{text}def fold(data, reply): return data if ALL and BIG and f0(1) else data\n")


def test_what_is_far_away_is_noticed_by_whatever_way_it_is_come_to_first(tmp_path: Path) -> None:
    chain = "\n".join(f"def f{n}(x): return f{n + 1}(x)" for n in range(20))
    text = f"{chain}\ndef f20(x): return x * ONE\ndef fold(data, reply): return data if f0(1) else data\n"

    assert fold_code(tmp_path, text.replace("ONE", "1")) != fold_code(tmp_path, text.replace("ONE", "2"))
