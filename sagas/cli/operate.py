"""What `retry`, `resolve`, `cancel` and `abandon` share: the plan, the confirmation, the deed.

Theory of operation. The instance is read, and the very function that would do it says what it would
do: that is the plan. With `--yes` it is done in one transaction on the orchestrator's database, guarded
by the revision that was read; whatever it sends goes out through the orchestrator's outbox. If anything
happened to the instance in between, nothing is done and one looks again.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
import msgspec

from sagas.cli.definitions import load, modules_wanted
from sagas.cli.instances import ORCHESTRATOR, database_option, find_instance, reading
from sagas.cli.output import explained, fail, plain, say, say_json
from sagas.cli.settings import settings_here
from sagas.cli.who import whoami
from sagas.core.definition import Definition
from sagas.core.durations import overdue
from sagas.core.effects import Action, Decision, Operate, Send, deadline_passed_ms
from sagas.core.instance import Instance
from sagas.core.messages import TEXT_LENGTH_MAX, tag_of

P = ParamSpec("P")
T = TypeVar("T")


class PlanShape(msgspec.Struct, frozen=True, kw_only=True):
    """What an action does, or would do: the JSON of these commands, described in docs/cli.md."""

    saga: str
    key: str
    id: str
    action: str
    reason: str
    revision: int
    path: list[str]
    sends: list[str]
    open_effects: list[str]
    is_done: bool
    deadline_passed_ms: int = 0


def operator_options(*, is_one: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Add what all of these commands take; `is_one`: they must name an instance."""

    def add(command: Callable[P, T]) -> Callable[P, T]:
        return _with_options(command, is_one)

    return add


def _with_options(command: Callable[P, T], is_one: bool) -> Callable[P, T]:
    for option in (
        click.argument("wanted", metavar="ID" if is_one else "[ID]", required=is_one),
        click.option("--saga", default="", metavar="NAME", help="Which saga's instance, when several have the key."),
        click.option("-m", "--module", "modules", multiple=True, metavar="MODULE", help="Where its saga is defined."),
        database_option,
        click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/cli.md describes it."),
        explained,
    ):
        command = option(command)
    return command


def reason_option(text: str, *, is_required: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Add `--reason TEXT`, 1 to TEXT_LENGTH_MAX characters; it may be left out, or empty, unless it `is_required`."""

    def checked(_: click.Context, option: click.Parameter, reason: str) -> str:
        if is_required and not reason.strip():
            raise click.BadParameter("it is empty; say why: it is kept", param=option)
        if len(reason) > TEXT_LENGTH_MAX:
            raise click.BadParameter(
                f"it has {len(reason)} characters, at most {TEXT_LENGTH_MAX} are kept; shorten it", param=option
            )
        return reason

    # Not one call with a default of None: a newer click takes that for a value, and asks for no other.
    if is_required:
        return click.option("--reason", required=True, metavar="TEXT", callback=checked, help=text)
    return click.option("--reason", default="", show_default=False, metavar="TEXT", callback=checked, help=text)


def act(
    action: Action,
    *,
    wanted: str,
    saga: str,
    modules: Sequence[str],
    db: Path | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what `action` would do, and with `yes` do it. Ends with exit code 1 when it cannot be done."""
    # Imported here: only what acts pays for the event loop.
    from sagas.clock import SystemClock

    definitions = load(modules_wanted(tuple(modules), os.environ, Path.cwd()))
    with reading(db) as store:
        instance = find_instance(store, wanted, saga)
    if instance.is_damaged:
        fail(instance.reason)
    message = Operate(action=action, who=whoami(), reason=reason, revision=instance.revision)
    now_ms = SystemClock().now_ms()
    decision = _decide(definitions, instance, message, db, now_ms, yes=yes)
    if isinstance(decision, str):
        fail(f"{instance.saga} {instance.key}: {decision}")
    shape = _shape(instance, decision, message, now_ms, is_done=yes)
    if as_json:
        say_json(shape)
    else:
        _tell(shape)


def _decide(
    definitions: Sequence[Definition], instance: Instance, message: Operate, db: Path | None, now_ms: int, *, yes: bool
) -> Decision | str:
    # Imported here: only what acts pays for the runtime and the database.
    from sagas.runtime.catalog import Catalog
    from sagas.runtime.orchestrator import Orchestrator
    from sagas.runtime.planning import plan
    from sagas.store.sqlite import SqliteStore

    if not yes:
        with reading(db) as book:
            return plan(Catalog(definitions, book), instance, message, now_ms)
    store = SqliteStore(db or settings_here().database(ORCHESTRATOR))
    try:
        return Orchestrator(definitions, store, store).operate(instance.id, message, now_ms)
    finally:
        store.close()


def _shape(before: Instance, decision: Decision, message: Operate, now_ms: int, *, is_done: bool) -> PlanShape:
    after = decision.instance
    assert after is not None
    sends = [e for e in decision.effects if isinstance(e, Send)]
    return PlanShape(
        saga=before.saga,
        key=before.key,
        id=before.id,
        action=message.action,
        reason=message.reason,
        revision=before.revision,
        path=[before.state, *(move.dest for move in decision.moves)],
        sends=[f"{tag_of(type(send.command))} to {send.topic}" for send in sends],
        open_effects=[f"{record.name} ({record.effect})" for record in after.steps if record.is_open],
        is_done=is_done,
        deadline_passed_ms=deadline_passed_ms(decision, now_ms),
    )


def _tell(shape: PlanShape) -> None:
    said = "done" if shape.is_done else "would be done"
    say(plain(f"{shape.saga} {shape.key}   {shape.action} {said}: {' → '.join(shape.path)}"))
    for send in shape.sends:
        say(plain(f"  sends {send}"))
    if shape.deadline_passed_ms:
        say(f"  {overdue(shape.deadline_passed_ms)}")
    if shape.open_effects:
        say(plain(f"  effects that stand: {', '.join(shape.open_effects)}"))
    if not shape.is_done:
        say("nothing was done; say it again with --yes")
