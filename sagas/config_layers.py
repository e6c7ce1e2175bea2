"""Reading settings: the environment, files of secrets, `pyproject.toml`, the command line.

Theory of operation. Each layer gives some settings a value and says where it comes from; the later one wins. Every
value is checked, also one that another layer wins over, for it is as wrong tomorrow. An empty variable counts as not
set, as compose files write it.

Which names are ours. `SAGAS_` is: whatever begins so and is not in the table is refused, with the nearest name that
is. `IGGY_`, `RATE_LIMIT_`, `BATCH_` and `POLL_` are shared with others (Iggy's own server is configured by `IGGY_...`
variables): there only what is nearly one of our names is refused, for that is one of ours written wrong.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

import msgspec

from sagas.config import Secret, Settings, masked
from sagas.config_table import Setting, shown, table
from sagas.errors import SettingsError

OURS = "SAGAS_"
SHARED = ("IGGY_", "RATE_LIMIT_", "BATCH_", "POLL_")

LIKENESS = 0.85
"""From which on a name in a shared prefix is one of ours written wrong: IGGY_PARTITION is, IGGY_HTTP_ADDRESS is not."""

NEIGHBOURS = ("IGGY_USERNAME", "IGGY_PASSWORD", "IGGY_HOME")
"""Names of Iggy's own command line, should any of ours ever come near."""

FILE_BYTES_MAX = 64 * 1024
VALUE_SHOWN_MAX = 80
PATH_SHOWN_MAX = 300

_NUMBER = re.compile(r"\A[0-9]{1,12}\Z")  # int() refuses thousands of digits with an error of its own


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value comes from: `layer` is default, project, environment, file or command line; `place` says where."""

    layer: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.layer} {self.place}".rstrip()


DEFAULT = Origin(layer="default")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and for each key where its value comes from."""

    settings: Settings
    origins: Mapping[str, Origin]


def read_settings(
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    options: Mapping[str, object] | None = None,
    stream: str | None = None,
) -> Reading:
    """The settings of this process. Raises SettingsError.

    `folder` is where the search for `pyproject.toml` begins, None for none. `options` are the command line's, by
    key: text, or None where nothing was said. `stream` is the program's own default stream.
    """
    values: dict[str, object] = {} if stream is None else {"stream": stream}
    origins = {row.key: DEFAULT for row in table()}
    layers = [_project(folder) if folder is not None else (), _environment(environ), _command_line(options or {})]
    for layer in layers:
        for key, value, origin in layer:
            values[key] = value
            origins[key] = origin
    return Reading(settings=msgspec.structs.replace(Settings(), **values), origins=origins)


_Layer = Iterator[tuple[str, object, Origin]]


def _environment(environ: Mapping[str, str]) -> _Layer:
    refuse_unknown(environ)
    for row in table():
        name, text = row.variable, environ.get(row.variable, "")
        origin = Origin(layer="environment", place=name)
        path = environ.get(row.file_variable, "") if row.is_secret else ""
        if path:
            if text:
                raise SettingsError(f"{name} and {row.file_variable} are both set: keep one of them")
            _refuse_controls(row.file_variable, path)
            text, origin = _secret_in(row, row.file_variable, path), Origin(layer="file", place=path)
        if text:
            yield row.key, from_text(row, name, text), origin


def _command_line(options: Mapping[str, object]) -> _Layer:
    rows = {row.key: row for row in table()}
    for key, value in options.items():
        if value is not None and value != ():
            row = rows[key]
            assert isinstance(value, str)
            text = _secret_in(row, row.option, value) if row.is_secret else value
            yield key, from_text(row, row.option, text), Origin(layer="command line", place=row.option)


def _project(folder: Path) -> _Layer:
    # Imported here: a process without such a file does without the parser.
    from sagas.config_project import nearest_project

    path, said = nearest_project(folder)
    rows = {row.key: row for row in table()}
    for key, value in said.items():
        where = f"{path}: [tool.sagas] {key}"
        row = rows.get(key)
        if row is None:
            raise SettingsError(f"{where}: there is no such setting{_nearest(key, rows)}; `sagas config` lists all")
        if row.is_secret:
            raise SettingsError(f"{where}: a secret has no place in a file that is committed; set {row.file_variable}")
        made = _from_toml(row, where, value)
        # A folder is meant as seen from the file that says it.
        found = path.parent / made if isinstance(made, Path) and path.parent != folder else made
        yield key, found, Origin(layer="project", place=str(path))


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for a variable that is ours and means nothing; see this module's text for which those are."""
    known = [name for row in table() for name in (row.variable, row.file_variable) if name]
    for name in sorted(environ):
        if name in known or name in NEIGHBOURS:
            continue
        if name.startswith(OURS) or (name.startswith(SHARED) and get_close_matches(name, known, 1, LIKENESS)):
            raise SettingsError(
                f"{name}: there is no such setting{_nearest(name, known)}; unset it, or write one of those that "
                "docs/settings.md lists"
            )


def from_text(row: Setting, name: str, text: str) -> object:
    """The value that `text` says; `name` is what errors call it. Raises SettingsError."""
    _refuse_controls(name, text)
    value: object = text
    if row.is_list:
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif isinstance(row.default, int) and not isinstance(row.default, bool):
        value = int(text) if _NUMBER.match(text) else text
    elif isinstance(row.default, bool):
        value = {"true": True, "false": False}.get(text, text)
    return _checked(row, name, value, text)


def _from_toml(row: Setting, where: str, value: object) -> object:
    if isinstance(value, str):
        _refuse_controls(where, value)
    return _checked(row, where, value, repr(value) if not isinstance(value, str) else value)


def _checked(row: Setting, name: str, value: object, text: str) -> object:
    try:
        if row.is_secret:
            return _connection_string(text)
        return msgspec.convert(value, row.type, dec_hook=_make)
    except ValueError:  # of msgspec too: its words name types, ours say what to write
        said = masked(text) if row.is_secret else text[:VALUE_SHOWN_MAX]
        default = f"the default is {row.default_shown}" if row.default_shown else "leave it away for the default"
        raise SettingsError(f"{name}={said!r}: expected {row.expected}; {default}") from None


def _connection_string(text: str) -> Secret:
    if not text.startswith(("iggy://", "iggy+tcp://")):
        raise ValueError
    return Secret(text)


def _make(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError(f"no {kind.__name__}")


def _secret_in(row: Setting, name: str, path: str) -> str:
    # Who writes the secret itself where its file belongs is not to find it in a log.
    where = f"{name}={(masked(path) if '://' in path else path)[:PATH_SHOWN_MAX]!r}"
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{where}: {error.strerror}; expected a file with {row.expected} in one line") from error
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if text and len(content) <= FILE_BYTES_MAX:
        _refuse_controls(f"the content of {where}", text)
        try:
            return _connection_string(text).reveal()
        except ValueError:
            pass
    raise SettingsError(f"{where}: expected a file with {row.expected} in one line")


def _refuse_controls(name: str, text: str) -> None:
    # A line break in a name comes from a file that was pasted whole, and goes on into logs and file names.
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise SettingsError(f"{name} has a control character in it, such as a line break; write it in one line")


def _nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    nearest = get_close_matches(name, list(known), 1, 0.6)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def described(reading: Reading) -> list[tuple[Setting, str, Origin]]:
    """Each setting with its value as text, secrets masked, and its origin."""
    return [(row, shown(getattr(reading.settings, row.key)), reading.origins[row.key]) for row in table()]
