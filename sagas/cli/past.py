"""An instance as it was: after so many journal entries, or at a time."""

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sagas.cli.definitions import VARIABLE, load, modules_wanted
from sagas.core.instance import Instance
from sagas.errors import SettingsError, StoreError
from sagas.ports import JournalRow
from sagas.runtime.verification import rebuild, until, version_at

_NUMBER = re.compile(r"\A[0-9]{1,9}\Z")
_SECONDS = re.compile(r"\A\+[0-9]{1,9}(\.[0-9]{1,6})?\Z")


def as_it_was(
    instance: Instance, journal: Sequence[JournalRow], moment: str, cleaned: int
) -> tuple[Instance, list[JournalRow]]:
    """The instance and its journal at `moment`: a number of entries, a time with its zone, or `+` and seconds.

    Raises SettingsError for a moment that is none or lies before the instance and for a saga that is not loaded, and
    StoreError when its journal cannot be decided again, or was cleaned away up to the revision `cleaned`.
    """
    if cleaned:
        raise StoreError(
            f"{instance.saga} {instance.key} cannot be shown as it was: its journal was cleaned away up to revision "
            f"{cleaned} (SAGAS_JOURNAL_DAYS); the topic event-store has it if SAGAS_EVENT_STORE was on"
        )
    rows = _rows(instance, journal, moment)
    if not rows:
        raise SettingsError(
            f"--at {moment}: {instance.saga} {instance.key} was not there yet; it has the entries 1 to {len(journal)}"
        )
    definitions = {(d.name, d.version): d for d in load(modules_wanted((), os.environ, Path.cwd()))}
    rebuilt = rebuild(definitions, instance.saga, version_at(journal, len(rows), instance.version), rows)
    reason = "; ".join(rebuilt.differences)
    if rebuilt.unloaded:
        raise SettingsError(
            f"{instance.saga} {instance.key} cannot be shown as it was: {reason}; name its module with {VARIABLE} or "
            "[tool.sagas] definitions in pyproject.toml"
        )
    if rebuilt.instance is None or reason:
        raise StoreError(f"{instance.saga} {instance.key} cannot be shown as it was: {reason}; see `sagas verify`")
    return rebuilt.instance, rows


def _rows(instance: Instance, journal: Sequence[JournalRow], moment: str) -> list[JournalRow]:
    if _NUMBER.match(moment):
        if int(moment) > len(journal):
            raise SettingsError(f"--at {moment}: {instance.saga} {instance.key} has {len(journal)} journal entries")
        return until(journal, revision=int(moment))
    if _SECONDS.match(moment):
        return until(journal, at_ms=instance.started_ms + round(float(moment[1:]) * 1000))
    return until(journal, at_ms=_time_ms(moment))


def _time_ms(moment: str) -> int:
    try:
        time = datetime.fromisoformat(moment)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise SettingsError(
            f"--at {moment[:40]!r}: expected a number of journal entries, a time with its zone "
            "(2026-01-31T12:00:00.123Z), or +1.5 for seconds after the start"
        )
    return round(time.timestamp() * 1000)
