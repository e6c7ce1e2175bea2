"""What a function's source says of the saga's data: which fields it reads, which it writes.

Theory of operation. The data is a frozen struct, so a fold writes by returning `replace(data, field=…)`, and whatever
reads does it as `data.field`. Both can be read off the syntax tree without running anything. A function whose
source cannot be found, or that hands the whole data to somebody else, says nothing: None.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator

Fields = frozenset[str]


def writes_of(fold: Callable[..., object]) -> Fields | None:
    """The fields that a fold may change, None when its source does not show it."""
    found = _parsed(fold)
    if found is None:
        return None
    function, data = found
    written: set[str] = set()
    for node in _own(function):
        if isinstance(node, ast.Return):
            fields = _written(node.value, data, function, 0)
            if fields is None:
                return None
            written |= fields
    return frozenset(written)


def reads_of(build: Callable[..., object]) -> Fields:
    """The fields that a function reads whatever happens: not those it looks at before it uses them."""
    found = _parsed(build)
    if found is None:
        return frozenset()
    function, data = found
    read = {name for node in ast.walk(function) if (name := _field(node, data))}
    tested = {
        name
        for node in ast.walk(function)
        for test in _tests(node)
        for inner in ast.walk(test)
        if (name := _field(inner, data))
    }
    return frozenset(read - tested)


def overwritten_by(fold: Callable[..., object]) -> Fields:
    """The fields that a fold sets to something that changes, and never reads: as far as its source shows it."""
    found = _parsed(fold)
    if found is None:
        return frozenset()
    function, data = found
    read = {name for node in ast.walk(function) if (name := _field(node, data))}
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and _name(node.func) == "replace"]
    return frozenset(
        keyword.arg
        for call in calls
        for keyword in call.keywords
        if keyword.arg is not None and keyword.arg not in read and not isinstance(keyword.value, ast.Constant)
    )


def given_of(start: Callable[..., object], data_type: type[object]) -> Fields | None:
    """The fields that a start function gives a value, None when its source does not show it: it calls another one."""
    fields: tuple[str, ...] = getattr(data_type, "__struct_fields__", ())
    found = _parsed(start)
    if found is None:
        return None
    given: set[str] | None = None
    for node in _own(found[0]):
        if not isinstance(node, ast.Return):
            continue
        if not isinstance(node.value, ast.Call) or _name(node.value.func) != data_type.__name__:
            return None
        if any(keyword.arg is None for keyword in node.value.keywords):
            return None
        if any(isinstance(argument, ast.Starred) for argument in node.value.args):
            return None
        names = {*fields[: len(node.value.args)], *(k.arg for k in node.value.keywords if k.arg is not None)}
        given = names if given is None else given | names
    return frozenset(given) if given is not None else None


def _parsed(function: Callable[..., object]) -> tuple[ast.FunctionDef, str] | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None
    node = tree.body[0] if tree.body else None
    if not isinstance(node, ast.FunctionDef) or not node.args.args:
        return None
    return node, node.args.args[0].arg


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of the function itself, without functions within it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def _written(value: ast.expr | None, data: str, function: ast.FunctionDef, depth: int) -> Fields | None:
    match value:
        case ast.Name(id=name) if name == data:
            return frozenset()
        case ast.Name(id=name) if depth == 0:
            return _assigned(name, data, function)
        case ast.IfExp(body=body, orelse=orelse):
            one, other = _written(body, data, function, depth), _written(orelse, data, function, depth)
            return None if one is None or other is None else one | other
        case ast.Call(func=called, args=[first, *_], keywords=keywords) if _name(called) == "replace":
            inner = _written(first, data, function, depth)
            if inner is None or any(keyword.arg is None for keyword in keywords):
                return None
            return inner | {keyword.arg for keyword in keywords if keyword.arg is not None}
        case _:
            return None


def _assigned(name: str, data: str, function: ast.FunctionDef) -> Fields | None:
    written: set[str] = set()
    values = [
        node.value
        for node in _own(function)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]
    for value in values:
        fields = _written(value, data, function, 1)
        if fields is None:
            return None
        written |= fields
    return frozenset(written) if values else None


def _name(called: ast.expr) -> str:
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""


def _field(node: ast.AST, data: str) -> str:
    is_read = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == data
    return node.attr if is_read and isinstance(node, ast.Attribute) else ""


def _tests(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) | ast.Assert(test=test):
            yield test
        case ast.BoolOp(values=values):
            yield from values
        case ast.Match(subject=subject):
            yield subject
        case ast.comprehension(ifs=ifs):
            yield from ifs
        case _:
            return
