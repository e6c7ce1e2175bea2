"""What a step is done for, while its saga is being written: the list, its items' keys, and what is refused at once."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin

import msgspec

from sagas.core.definition import EachSpec
from sagas.core.drafts import UNRESOLVED, EachDraft, resolve, where_of
from sagas.core.purity import impurity
from sagas.errors import DefinitionError

ITEMS_MAX = 1_000
"""Of one fan-out: its run is read and written as a whole, and one message is answered for each item."""


def listing(
    saga: str,
    listed: Callable[[Any], Iterable[Any]],
    key: Callable[[Any], str],
    at_most: int,
    namespace: Mapping[str, object],
) -> EachDraft:
    """Read what is listed off the function that lists it. Raises DefinitionError."""
    where = where_of(listed)
    name = getattr(listed, "__name__", "")

    def refuse(problem: str, remedy: str) -> DefinitionError:
        return DefinitionError(saga, "", f"for_each over {name!r}: {problem}", remedy, where)

    if not 0 < at_most <= ITEMS_MAX:
        raise refuse(
            f"at_most={at_most} is out of range",
            f"bound the list by 1 to {ITEMS_MAX}; what may be longer is a saga for each item, started by an event",
        )
    try:
        signature = resolve(listed, namespace)
    except NameError as error:
        raise refuse(f"an annotation cannot be read: {error}", UNRESOLVED) from None
    item_type = _item_type(signature)
    if len(signature.parameters) != 1 or item_type is None:
        raise refuse(
            "its function does not say what it lists",
            f"write `def {name or 'parcels'}(data: D) -> tuple[Parcel, ...]:`",
        )
    _refuse_unkept(item_type, refuse)
    for function, what in ((listed, "the list"), (key, "an item's key")):
        found = impurity(function)
        if found:
            raise refuse(
                f"{found}: {what} must follow from the saga's data alone, or deciding again decides otherwise",
                "fold what it needs into the data first",
            )
    return EachDraft(listed=listed, key=key, at_most=at_most, item_type=item_type, where=where)


def each_of(draft: EachDraft) -> EachSpec:
    """The listing as the kernel asks for it: keys with their items."""

    def items(data: Any) -> Iterable[tuple[str, Any]]:
        return ((draft.key(item), item) for item in draft.listed(data))

    return EachSpec(items, draft.item_type, draft.at_most, (draft.listed, draft.key))


def _item_type(signature: inspect.Signature) -> Any:
    """What is in the list that a function returns, None when it does not say so."""
    returned = signature.return_annotation
    origin, inside = get_origin(returned), get_args(returned)
    if not isinstance(origin, type) or not issubclass(origin, Iterable) or issubclass(origin, Mapping | str | bytes):
        return None
    if issubclass(origin, tuple):
        return inside[0] if len(inside) == 2 and inside[1] is Ellipsis else None
    return inside[0] if len(inside) == 1 else None


def _refuse_unkept(item_type: Any, refuse: Callable[[str, str], DefinitionError]) -> None:
    """Refuse an item that cannot be kept with the run and read again."""
    try:
        msgspec.json.Decoder(item_type)
        is_kept = not isinstance(msgspec.inspect.type_info(item_type), msgspec.inspect.CustomType)
    except TypeError:
        is_kept = False
    if not is_kept:
        named = getattr(item_type, "__name__", str(item_type))
        raise refuse(f"an item of type {named} cannot be kept", "list `msgspec.Struct`s, texts or numbers")
