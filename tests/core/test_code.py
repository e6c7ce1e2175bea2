"""That a function was changed is noticed, whatever Python reads it; a run goes on under the new code."""

import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sagas import Saga
from sagas.cli.rollout import judged, report
from sagas.core.code import changed_code, code_of
from sagas.core.definition import Definition
from sagas.core.effects import Start
from sagas.core.instance import Instance
from sagas.core.kernel import decide
from sagas.core.shape import encode_shape, shape_of
from sagas.records import DefinitionRow
from sagas.runtime.catalog import Catalog
from tests.core.courses import PLACE, Begun, Data, Maker

LIMIT = 5
OTHER_LIMIT = 6


def keep(data: Data, reply: object) -> Data:
    return data


def keep_with_a_comment(data: Data, reply: object) -> Data:
    """Says the same, at more length."""
    # Nothing of it is kept.
    return (
        data
    )  # fmt: skip


def pause_longer(data: Data, reply: object) -> Data:
    return msgspec.structs.replace(data, pause_s=9.0)


def is_long(data: Data) -> bool:
    return data.pause_s > LIMIT


def is_longer(data: Data) -> bool:
    return data.pause_s > OTHER_LIMIT


def twice(number: float) -> float:
    return number * 2


def thrice(number: float) -> float:
    return number * 3


def twice_as_long(data: Data) -> float:
    return twice(data.pause_s)


def thrice_as_long(data: Data) -> float:
    return thrice(data.pause_s)


def written(
    fold: Callable[[Data, Any], Data] = keep,
    test: Callable[[Data], bool] = is_long,
    seconds: Callable[[Data], float] = twice_as_long,
    version: int = 1,
) -> Definition:
    """`a >> (when is_large: b) >> pause`, with these functions."""
    maker = Maker()
    maker.saga.version = version
    a, b = maker.step("a"), maker.step("b")
    a.draft.fold = fold
    is_large, pause = _called("is_large", test), _called("pause", seconds)
    maker.saga.flow(a >> maker.saga.when(is_large, b, name="is_large") >> maker.saga.delay(pause))
    return maker.saga.definition


def _called(name: str, function: Any) -> Any:
    made = types.FunctionType(function.__code__, function.__globals__, name, None, None)
    made.__annotations__ = function.__annotations__
    return made


def began(definition: Definition) -> Instance:
    data = definition.encode_data(Data("k-1"))
    instance = decide(definition, None, Start(key="k-1", data=data), 1_000).instance
    assert instance is not None
    return instance


class Book:
    """What was loaded before."""

    def __init__(self, definition: Definition) -> None:
        shape = encode_shape(shape_of(definition))
        self.row = DefinitionRow(
            saga=definition.name, version=definition.version, content=definition.content, shape=shape
        )

    def definitions(self) -> list[DefinitionRow]:
        return [self.row]

    def definition_count(self) -> int:
        return 1

    def keep_definitions(self, rows: object) -> None:
        raise AssertionError("a verdict changes nothing")


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"fold": pause_longer}, "a.fold"),
    ({"test": is_longer}, "is_large"),
    ({"seconds": thrice_as_long}, "pause"),
]


@pytest.mark.parametrize(("other", "function"), CHANGES)
def test_another_fold_predicate_or_delay_is_noticed_and_changes_no_content(
    other: dict[str, Any], function: str
) -> None:
    old, new = written(), written(**other)
    assert changed_code(code_of(old), code_of(new)) == [function]
    assert old.content == new.content


def test_comments_docstrings_and_layout_are_no_change() -> None:
    assert code_of(written()) == code_of(written(fold=keep_with_a_comment))


def test_what_was_not_written_down_is_not_called_changed() -> None:
    assert changed_code({}, code_of(written())) == []


@pytest.mark.parametrize(("other", "function"), CHANGES)
def test_a_live_run_continues_under_the_new_code(other: dict[str, Any], function: str) -> None:
    old = written()
    for new in (written(**other), written(**other, version=2)):
        verdict, reasons, _ = judged(Catalog([new], Book(old)), began(old))
        assert (verdict, reasons) == ("continues under the new code", (f"other code: {function}",))
    assert judged(Catalog([written()], Book(old)), began(old))[0] == "continues unchanged"


def test_a_rollout_says_of_each_leaf_whose_code_was_changed_how_runs_continue() -> None:
    found = report("course", [written()], [written(fold=pause_longer, test=is_longer)], None)
    assert {(s.step, s.change, s.verdict) for s in found.steps} == {
        ("a", "changed", "continues under the new code"),
        ("b", "unchanged", "continues unchanged"),
        ("is_large", "changed", "continues under the new code"),
        ("pause", "unchanged", "continues unchanged"),
    }
    assert found.verdict == "continues under the new code"


def test_a_part_s_functions_are_told_by_what_its_author_wrote() -> None:
    def parent(fold: Callable[[Data, Any], Data]) -> Definition:
        child = Maker("child")
        step = child.step("a")
        step.draft.fold = fold
        child.saga.flow(step)
        saga: Saga[Around] = Saga("around", Around, version=1, key="k")

        @saga.start(on=PLACE)
        def begin(event: Begun) -> Around:
            return Around(event.k)

        @saga.part(child.saga)
        def inner(around: Around) -> Data:
            return Data(around.k)

        saga.flow(inner)
        return saga.definition

    assert changed_code(code_of(parent(keep)), code_of(parent(keep))) == []
    assert changed_code(code_of(parent(keep)), code_of(parent(pause_longer))) == ["inner_a.fold"]


class Around(msgspec.Struct, frozen=True):
    """The data of a saga with a part."""

    k: str
    inner: Data | None = None
