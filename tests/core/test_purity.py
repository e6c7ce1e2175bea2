"""Whether a predicate depends on its argument alone: what its byte code gives away, and what it may do."""

import math
import operator
import os
import random
import re
import string
import time
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import reduce
from random import randint
from secrets import token_hex
from typing import Any

import msgspec
import pytest

from sagas.core.purity import constant, impurity


class Order(msgspec.Struct):
    """The data of these predicates. Not frozen, so that one of them can do harm."""

    key: str
    total: int = 0
    tags: list[str] = []


class Size(Enum):
    SMALL = 10


LIMIT = 100
WORDS = ("gift", "loan")
SEEN: list[str] = []
PRICES = {"kettle": 5}
count_of_all = 0
PATTERN = re.compile("^a")


def is_large(order: Order) -> bool:
    return order.total > LIMIT


def is_known(order: Order) -> bool:
    return order.key in WORDS and order.key.upper().startswith("G")


def is_small(order: Order) -> bool:
    return order.total < Size.SMALL.value


def by_pure_modules(order: Order) -> bool:
    return math.sqrt(order.total) > 2 and operator.gt(Decimal(order.total), 3) and bool(PATTERN.match(order.key))


def by_another(order: Order) -> bool:
    return not is_large(order)


def by_all_of_them(order: Order) -> bool:
    return all(tag in string.ascii_letters for tag in order.tags) and reduce(operator.add, [order.total]) > len("abc")


def by_an_import(order: Order) -> bool:
    from math import floor

    return floor(order.total) > 1


def recursive(order: Order) -> bool:
    return order.total == 0 or recursive(Order(order.key, order.total - 1))


class Slot(msgspec.Struct, frozen=True):
    """Data with a field that is called like a clock."""

    key: str
    now: int = 0


def reads_a_field_called_now(slot: Any) -> bool:
    return bool(slot.now > LIMIT)


join = ", ".join
SMALL = Slot("small")


def calls_what_is_bound_to_a_text(order: Order) -> bool:
    return join(order.tags) != "" and Decimal.from_float(order.total) > 2


PURE = [
    calls_what_is_bound_to_a_text,
    is_large,
    is_known,
    is_small,
    by_pure_modules,
    by_another,
    by_all_of_them,
    by_an_import,
    recursive,
]


@pytest.mark.parametrize("predicate", PURE, ids=lambda predicate: predicate.__name__)
def test_what_depends_on_its_argument_and_on_constants_is_pure(predicate: Callable[[Order], bool]) -> None:
    assert impurity(predicate) == ""
    assert constant(predicate) is None
    assert predicate(Order("gift", 7)) is predicate(Order("gift", 7))


def test_a_field_that_is_called_like_a_clock_is_none() -> None:
    assert impurity(reads_a_field_called_now) == ""


def draws_lots(order: Order) -> bool:
    return random.random() < 0.5


def through_another(order: Order) -> bool:
    return draws_lots(order)


def looks_at_the_clock(order: Order) -> bool:
    return order.total > time.time()


def compares_with_now_in_a_generator(order: Order) -> bool:
    return any(datetime.now().isoformat() > tag for tag in order.tags)


def compares_with_today_in_a_lambda(order: Order) -> bool:
    return bool(list(filter(lambda tag: date.today().isoformat() > tag, order.tags)))


def draws_by_name(order: Order) -> bool:
    return randint(0, 1) > order.total


def draws_by_another_name(order: Order) -> bool:
    return draw() > order.total


def draws_a_secret(order: Order) -> bool:
    return token_hex(2) > order.key


def asks_a_clock_by_name(order: Order) -> bool:
    return bool(what_time_is_it())


draw = random.random
what_time_is_it = datetime.now


def looks_it_up(order: Order) -> bool:
    return order.key in PRICES


def remembers(order: Order) -> bool:
    return order.key in SEEN


def counts(order: Order) -> bool:
    global count_of_all
    count_of_all += 1
    return order.total < count_of_all


def changes_it(order: Order) -> bool:
    order.total += 1
    return order.total > 1


def empties_it(order: Order) -> bool:
    del order.tags[0]
    return bool(order.tags)


def asks_its_memory(order: Order) -> bool:
    return hash(order.key) > 0


def imports_inside(order: Order) -> bool:
    import secrets

    return secrets.randbelow(2) > order.total


def calls_a_builtin_of_an_impure_module(order: Order) -> bool:
    return bool(SYSTEM(order.total))


def reads_the_environment(order: Order) -> bool:
    found: Any = environment(order)
    return bool(found.environ)


def environment(order: Order) -> Order:
    return order


def in_a_loop(order: Order) -> list[bool]:
    return [draws_lots(order) for _ in order.tags]


class Mutable:
    """A value that says it can change: it has no hash."""

    __hash__ = None  # type: ignore[assignment]


CHANGING: object = Mutable()


def reads_what_changes(order: Order) -> bool:
    return bool(CHANGING)


SYSTEM: Any = os.cpu_count


def made(limit: Any) -> Callable[[Order], bool]:
    def predicate(order: Order) -> bool:
        return order.total > int(limit)

    return predicate


def counting() -> Callable[[Order], bool]:
    count = 0

    def predicate(order: Order) -> bool:
        nonlocal count
        count += 1
        return count > order.total

    return predicate


def before_it_is_set() -> Callable[[Order], bool]:
    def predicate(order: Order) -> bool:
        return order.total > limit

    if LIMIT:
        return predicate
    limit = 3
    return predicate


IMPURE: dict[str, tuple[Callable[[Order], Any], str]] = {
    "draws lots": (draws_lots, "it uses the module 'random'"),
    "through another": (through_another, "it calls 'draws_lots', and uses the module 'random'"),
    "the clock": (looks_at_the_clock, "it uses the module 'time'"),
    "the clock in a generator": (compares_with_now_in_a_generator, "it uses 'now'"),
    "the clock in a lambda": (compares_with_today_in_a_lambda, "it uses 'today'"),
    "the clock by name": (asks_a_clock_by_name, "it calls 'what_time_is_it'"),
    "lots by name": (draws_by_name, "it calls 'randint'"),
    "lots by another name": (draws_by_another_name, "it calls 'draw', which is bound to what can change"),
    "a secret": (draws_a_secret, "it calls 'token_hex'"),
    "a dictionary": (looks_it_up, "it reads 'PRICES', which can change"),
    "a list": (remembers, "it reads 'SEEN', which can change"),
    "a global": (counts, "it changes 'count_of_all', which is not its own"),
    "its argument": (changes_it, "it changes what it is given"),
    "a part of it": (empties_it, "it changes what it is given"),
    "a hash": (asks_its_memory, "it calls 'hash'"),
    "an import": (imports_inside, "it imports 'secrets'"),
    "a builtin": (calls_a_builtin_of_an_impure_module, "it calls 'SYSTEM'"),
    "an attribute": (reads_the_environment, "it uses 'environ'"),
    "a loop": (in_a_loop, "it calls 'draws_lots', and uses the module 'random'"),
    "without a hash": (reads_what_changes, "it reads 'CHANGING', which can change"),
    "a variable around it": (counting(), "it changes 'count', which is not its own"),
    "a list around it": (made([1]), "it reads 'limit', which can change"),
}


@pytest.mark.parametrize("name", IMPURE)
def test_what_can_say_something_else_the_next_time_is_found_out(name: str) -> None:
    predicate, said = IMPURE[name]
    assert impurity(predicate) == said


def test_a_variable_around_it_that_cannot_change_is_no_harm() -> None:
    assert impurity(made(3)) == ""
    assert impurity(made(is_large)) == ""
    assert impurity(before_it_is_set()) == "", "it will raise, and say so"


def test_what_is_no_function_is_not_looked_into() -> None:
    assert impurity(len) == ""
    assert constant(len) is None


def always(order: Order) -> bool:
    return True


def never(order: Order) -> bool:
    return False


def test_a_predicate_that_always_says_the_same_is_known() -> None:
    assert constant(always) is True
    assert constant(never) is False
