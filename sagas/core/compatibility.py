"""Whether what one release writes can be read by another: shapes against shapes, in words where it cannot.

Conservative: what cannot be shown to be readable is called unreadable, with the reason. An upcaster is believed,
for it is code.
"""

from collections.abc import Iterable, Sequence

from sagas.core.shape import FieldShape, MessageShape, TypeShape

_AT_LEAST = ("ge", "gt", "min_length")
_AT_MOST = ("le", "lt", "max_length")
_EXACT = ("pattern", "multiple_of", "tz", "tag")


def message_problems(written: MessageShape, read: MessageShape) -> list[str]:
    """Why a message `written` so cannot be read as `read`; [] when it can."""
    if written.version > read.version:
        return [f"it is of version {written.version}, known: {_versions(read)}"]
    if written.version < read.oldest:
        return [f"version {written.version} is not read any more, known: {_versions(read)}"]
    if written.version < read.version:
        return []
    return field_problems(written.fields, read.fields)


def is_upcast(written: MessageShape, read: MessageShape) -> bool:
    """Whether an upcaster is what makes it readable."""
    return read.oldest <= written.version < read.version


def _versions(message: MessageShape) -> str:
    return ", ".join(str(version) for version in range(message.oldest, message.version + 1))


def missing_replies(written: Sequence[MessageShape], read: Sequence[MessageShape]) -> list[str]:
    """Why one of the answers `written` cannot be read where `read` are expected; [] when each can."""
    expected = {message.tag: message for message in read}
    found: list[str] = []
    for message in written:
        known = expected.get(message.tag)
        if known is None:
            found.append(f"its answer {message.tag!r} is not expected any more")
        elif known.is_rejection != message.is_rejection:
            said = "a refusal" if message.is_rejection else "no refusal"
            found.append(f"its answer {message.tag!r} was {said}")
        else:
            found += [f"its answer {message.tag!r}: {problem}" for problem in message_problems(message, known)]
    return found


def field_problems(written: Iterable[FieldShape], read: Iterable[FieldShape], *, where: str = "") -> list[str]:
    """Why an object with the fields `written` cannot be read as one with the fields `read`."""
    there = {field.name: field for field in written}
    found: list[str] = []
    for field in read:
        name, old = f"{where}{field.name}", there.get(field.name)
        if old is None:
            found += [f"{name} is new and required"] if field.is_required else []
        elif field.is_required and not old.is_required:
            found.append(f"{name} could be left out and is required now")
        else:
            found += type_problems(old.type, field.type, name)
    return found


def type_problems(written: TypeShape, read: TypeShape, where: str) -> list[str]:
    """Why a value of type `written` cannot always be read as `read`."""
    if written == read or read.kind in ("any", "raw"):
        return []
    if written.kind == "union":
        return [problem for member in written.inside for problem in type_problems(member, read, where)]
    if read.kind == "union":
        if any(not type_problems(written, member, where) for member in read.inside):
            return []
        return [f"{where} was {_named(written)} and is {_named(read)} now"]
    if written.kind == "int" and read.kind == "float" and not read.limits:
        return []
    if written.kind != read.kind:
        return [f"{where} was {_named(written)} and is {_named(read)} now"]
    return [*_limits(written, read, where), *_inside(written, read, where)]


def _limits(written: TypeShape, read: TypeShape, where: str) -> list[str]:
    found: list[str] = []
    for name in (*_AT_LEAST, *_AT_MOST, *_EXACT):
        old, new = written.limits.get(name), read.limits.get(name)
        if new is None or old == new:
            continue
        wider = isinstance(old, int | float) and isinstance(new, int | float)
        if wider and ((name in _AT_LEAST and old >= new) or (name in _AT_MOST and old <= new)):  # type: ignore[operator]  # both are numbers: `wider` says so
            continue
        found.append(f"{where} is bounded more tightly: {name} was {old}, is {new}")
    return found


def _inside(written: TypeShape, read: TypeShape, where: str) -> list[str]:
    if written.kind == "struct":
        gone = {f.name for f in written.fields} - {f.name for f in read.fields}
        if "tag" in written.limits and "tag" not in read.limits:
            gone.add(str(written.limits["tag"]).partition("=")[0])
        if gone and read.limits.get("closed"):
            return [f"{where} must have no {', '.join(sorted(gone))} now"]
        return field_problems(written.fields, read.fields, where=f"{where}.")
    if written.kind == "choice":
        gone = set(written.values) - set(read.values)
        return [f"{where} may not be {', '.join(sorted(gone))} any more"] if gone else []
    if written.kind == "row":
        return list(_row_problems(written, read, where))
    if written.kind == "tuple" and len(written.inside) != len(read.inside):
        return [f"{where} had {len(written.inside)} parts and has {len(read.inside)} now"]
    pairs = zip(written.inside, read.inside, strict=False)
    return [problem for old, new in pairs for problem in type_problems(old, new, f"{where}[]")]


def _row_problems(written: TypeShape, read: TypeShape, where: str) -> Iterable[str]:
    """Why fields that go by their place cannot be read: none may change places, and what is new stands at the end."""
    before, after = [field.name for field in written.fields], [field.name for field in read.fields]
    added = read.fields[len(before) :]
    if len(before) > len(after) or any(field.is_required for field in added):
        yield f"{where} had {len(before)} parts and has {len(after)} now"
        return
    for old, new in zip(written.fields, read.fields, strict=False):
        if old.name != new.name and (new.name in before or old.name in after):
            yield f"{where} had {old.name!r} where it has {new.name!r} now"
        elif new.is_required and not old.is_required:
            yield f"{where}.{new.name} could be left out and is required now"
        else:
            yield from type_problems(old.type, new.type, f"{where}.{new.name}")


def _named(kind: TypeShape) -> str:
    return " or ".join(member.kind for member in kind.inside) if kind.kind == "union" else kind.kind
