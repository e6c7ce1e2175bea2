"""How long things are kept, as the settings say."""

from sagas.config import Settings
from sagas.errors import SettingsError
from sagas.records import TRANSIENT_S
from sagas.runtime.cleaning import DAY_MS, Keeping


def keeping_of(settings: Settings) -> Keeping:
    """How long a process keeps things. Raises SettingsError for a time in which a message could come again."""
    transient_days = TRANSIENT_S * 1000 // DAY_MS
    if 0 < settings.runs_days <= transient_days:
        raise SettingsError(
            f"SAGAS_RUNS_DAYS={settings.runs_days}: a topic keeps messages for {transient_days} days, and an answer "
            f"could still come to a run that is gone; expected 0 (for ever) or {transient_days + 1} at least"
        )
    if 0 < settings.barrier_days < settings.inbox_days:
        raise SettingsError(
            f"SAGAS_BARRIER_DAYS={settings.barrier_days}: a command can come again for SAGAS_INBOX_DAYS="
            f"{settings.inbox_days} days; expected 0 (for ever) or no fewer than that"
        )
    return Keeping(
        processed_ms=settings.inbox_days * DAY_MS,
        journal_ms=settings.journal_days * DAY_MS,
        runs_ms=settings.runs_days * DAY_MS,
        barrier_ms=settings.barrier_days * DAY_MS,
    )
