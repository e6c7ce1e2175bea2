"""`sagas dlq`: what could not be dealt with, in the orchestrator's database or any participant's.

As with the ways out of `stuck`, what would be done is said first, and done with `--yes`: all letters named
or none. Sending a letter again puts it into the outbox of the database it lies in, and the process that
owns the file publishes it. The message is harmless wherever its time is over: the inbox, the barrier and
the kernel tell repeats and latecomers apart. They do so for as long as ids are remembered, and letters are kept for
ever: one that is older is sent again only when that is asked for in so many words.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import msgspec
from rich_click import RichGroup

from sagas.cli.instances import ORCHESTRATOR
from sagas.cli.operate import reason_option
from sagas.cli.output import explained, moment, plain, say, say_json, table
from sagas.cli.settings import settings_here
from sagas.cli.who import whoami
from sagas.clock import SystemClock
from sagas.errors import StoreError
from sagas.ports import DeadLetter
from sagas.runtime.cleaning import DAY_MS
from sagas.store.letter_file import LetterFile, first_received_ms, refuse_requeue, refuse_settled

P = ParamSpec("P")
T = TypeVar("T")

LIMIT_MAX = 10_000
"""Of one page, in letters."""

SHOWN_MAX = 2_000
"""Bytes of a payload that `show` prints for people; --json has all that is kept."""

_REASON_SHOWN_MAX = 90


class LetterShape(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter in a list; described in docs/cli.md."""

    id: int
    received_ms: int
    topic: str
    partition: int
    offset: int
    message_id: str
    key: str
    reason: str
    attempts: int
    size: int
    is_whole: bool
    settled_as: str
    settled_ms: int
    settled_by: str
    settle_reason: str


class WholeLetterShape(LetterShape, frozen=True, kw_only=True):
    """A dead letter with what came: `payload` in base64."""

    headers: dict[str, str]
    payload: str


class LettersShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of letters; `next` is the number to go on from with `--before`, null on the last page."""

    letters: list[LetterShape]
    next: int | None


class SettledShape(msgspec.Struct, frozen=True, kw_only=True):
    """What `requeue` and `discard` did, or would do."""

    action: str
    reason: str
    letters: list[LetterShape]
    is_done: bool


@click.group(cls=RichGroup)
def command() -> None:
    """Deal with dead letters: messages that could not be dealt with, in any database of ours."""


def _file_option(function: Callable[P, T]) -> Callable[P, T]:
    return click.option(
        "--db",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The orchestrator's database or a participant's; $SAGAS_DATA/orchestrator.db by default.",
    )(function)


def _json_option(function: Callable[P, T]) -> Callable[P, T]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it.")(function)


def _settling_options(function: Callable[P, T]) -> Callable[P, T]:
    for option in (
        click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1)),
        reason_option("Why; kept with the letter."),
        _file_option,
        click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done."),
        _json_option,
        explained,
    ):
        function = option(function)
    return function


@command.command("list")
@click.option("--all", "with_settled", is_flag=True, help="Also those that were requeued or discarded.")
@click.option("--before", type=click.IntRange(1, 2**63 - 1), metavar="ID", help="Go on behind this letter.")
@click.option("--limit", default=20, type=click.IntRange(1, LIMIT_MAX), help="At most so many; 20 by default.")
@_file_option
@_json_option
@explained
def list_command(with_settled: bool, before: int | None, limit: int, db: Path | None, as_json: bool) -> None:
    """List the letters that nobody has dealt with, newest first."""
    with closing(LetterFile(_path(db), read_only=True)) as file:
        # One more than is shown: whether there is a next page is then known without counting.
        found = file.newest(limit + 1, with_settled=with_settled, before_id=before)
    letters, following = found[:limit], found[limit - 1].id if len(found) > limit else None
    if as_json:
        say_json(LettersShape(letters=[_shape(letter) for letter in letters], next=following))
    elif not letters:
        say("no dead letters")
    else:
        _print(letters, following)


@command.command("show")
@click.argument("letter_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@_file_option
@_json_option
@explained
def show_command(letter_id: int, db: Path | None, as_json: bool) -> None:
    """Show one letter: where it came from, why it lies here, and what came."""
    with closing(LetterFile(_path(db), read_only=True)) as file:
        (letter,) = file.letters([letter_id])
    if as_json:
        say_json(_whole_shape(letter))
    else:
        _tell(letter)


@command.command("requeue")
@click.option(
    "--even-old",
    is_flag=True,
    help="Also letters older than SAGAS_INBOX_DAYS: who had their messages may have forgotten it, and take them again.",
)
@_settling_options
def requeue_command(
    ids: tuple[int, ...], reason: str, db: Path | None, yes: bool, as_json: bool, even_old: bool
) -> None:
    """Send letters again, as they came, to the topic they came from.

    Without --yes it only says what it would do. The process that owns the database publishes them.
    """

    def refuse(letter: DeadLetter) -> None:
        refuse_requeue(letter)
        if not even_old:
            _refuse_old(letter)

    _settle("requeue", ids, reason, db, yes=yes, as_json=as_json, refuse=refuse)


@command.command("discard")
@_settling_options
def discard_command(ids: tuple[int, ...], reason: str, db: Path | None, yes: bool, as_json: bool) -> None:
    """Say of letters that nothing is to be done. They are kept.

    Without --yes it only says what it would do.
    """
    _settle("discard", ids, reason, db, yes=yes, as_json=as_json, refuse=refuse_settled)


def _refuse_old(letter: DeadLetter) -> None:
    days, received_ms = settings_here().inbox_days, first_received_ms(letter)
    if received_ms < SystemClock().now_ms() - days * DAY_MS:
        raise StoreError(
            f"dead letter {letter.id} was received {moment(received_ms)}, longer ago than ids are remembered: "
            f"SAGAS_INBOX_DAYS ({days}). Who had its message then may take it again; if that does no harm say "
            "--even-old, else discard it"
        )


def _settle(
    action: str,
    ids: Sequence[int],
    reason: str,
    db: Path | None,
    *,
    yes: bool,
    as_json: bool,
    refuse: Callable[[DeadLetter], None],
) -> None:
    wanted = list(dict.fromkeys(ids))
    with closing(LetterFile(_path(db), read_only=not yes)) as file:
        letters = file.letters(wanted)
        for letter in letters:
            refuse(letter)
        if yes:
            do = file.requeue if action == "requeue" else file.discard
            do(wanted, whoami(), reason, SystemClock().now_ms())
            letters = file.letters(wanted)
    shape = SettledShape(action=action, reason=reason, letters=[_shape(letter) for letter in letters], is_done=yes)
    if as_json:
        say_json(shape)
        return
    for letter in letters:
        to = f" to {letter.topic}" if action == "requeue" else ""
        said, lies = ("done", "lay") if yes else ("would be done", "lies")
        say(plain(f"dead letter {letter.id} ({letter.key or letter.message_id})   {action}{to} {said}"))
        say(plain(f"  it {lies} here because: {letter.reason}"))
    if not yes:
        say("nothing was done; say it again with --yes")


def _path(db: Path | None) -> Path:
    return db or settings_here().database(ORCHESTRATOR)


def _fields(letter: DeadLetter) -> dict[str, object]:
    return {name: getattr(letter, name) for name in LetterShape.__struct_fields__}


def _shape(letter: DeadLetter) -> LetterShape:
    return msgspec.convert(_fields(letter), LetterShape)


def _whole_shape(letter: DeadLetter) -> WholeLetterShape:
    payload = b64encode(letter.payload).decode()
    return msgspec.convert({**_fields(letter), "headers": dict(letter.headers), "payload": payload}, WholeLetterShape)


def _print(letters: Sequence[DeadLetter], following: int | None) -> None:
    table(
        ("id", "received", "from", "key", "attempts", "bytes", "reason"),
        [
            (
                str(letter.id),
                moment(letter.received_ms),
                f"{letter.topic}/{letter.partition} at {letter.offset}",
                letter.key,
                str(letter.attempts),
                str(letter.size),
                _brief(letter),
            )
            for letter in letters
        ],
        numbers=("id", "attempts", "bytes"),
    )
    if following is not None:
        say(f"more: --before {following}")


def _brief(letter: DeadLetter) -> str:
    settled = f"{letter.settled_as} by {letter.settled_by} · " if letter.settled_as else ""
    reason = letter.reason if len(letter.reason) <= _REASON_SHOWN_MAX else f"{letter.reason[:_REASON_SHOWN_MAX]}…"
    return settled + reason


def _tell(letter: DeadLetter) -> None:
    attempts = f"{letter.attempts} attempt{'s' if letter.attempts > 1 else ''}"
    say(plain(f"dead letter {letter.id}   {moment(letter.received_ms)}   {attempts}"))
    say(plain(f"from {letter.topic}, partition {letter.partition}, offset {letter.offset}"))
    say(plain(f"message {letter.message_id}   key {letter.key or '(unreadable)'}"))
    say(plain(f"because: {letter.reason}"))
    if letter.settled_as:
        who = f"{letter.settled_as} by {letter.settled_by}, {moment(letter.settled_ms)}"
        say(plain(f"{who}: {letter.settle_reason}"))
    for name, value in letter.headers.items():
        say(plain(f"  {name}: {value}"))
    shown = letter.payload[:SHOWN_MAX]
    more = f", {len(shown)} shown" if len(shown) < letter.size else ""
    cut = "" if letter.is_whole else ", not kept whole"
    say(f"payload of {letter.size} bytes{more}{cut}:")
    say(plain(shown.decode(errors="replace")))
