"""How long things are kept, as the settings say."""

from sagas.config import Settings
from sagas.runtime.cleaning import DAY_MS, Keeping


def keeping_of(settings: Settings) -> Keeping:
    """How long a process keeps things."""
    return Keeping(
        processed_ms=settings.inbox_days * DAY_MS,
        journal_ms=settings.journal_days * DAY_MS,
        runs_ms=settings.runs_days * DAY_MS,
        barrier_ms=settings.barrier_days * DAY_MS,
    )
