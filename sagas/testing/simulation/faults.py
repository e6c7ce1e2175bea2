"""Which faults a seed has: each draws its own set and its own rates, so that rare meetings of few faults come about.

Theory of operation ("swarm testing", Groce et al. 2012). A world in which everything goes wrong at once explores
little: crashes keep it from ever reaching the interesting states. So each fault is off in about half of
the seeds, and its rate is drawn where it is on. Everything comes from one integer, and `str(faults)`
is the one line that says what a seed does.

With `timers=False` no timer of the engine ever fires but those that end a delay, for a delay is a timer and nothing
else: it heals nothing that was lost. Then nothing may be lost that only a timer heals, so those faults are left out,
and every client sends its signal, for only a timer ends a wait without one. What is lost all the same was lost
by the engine, and its saga never ends. With timers the same loss would be healed by sending again, and hidden.
"""

from random import Random

import msgspec

from sagas.runtime.orchestrator import PART_MAX


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong, and how often. Rates are probabilities of one call; `_every` is a mean, 0 meaning never."""

    fault_ms: int = 0
    """How long the phase with faults lasts."""
    crash_every: int = 0
    """Port calls between two crashes of a process."""
    kill_every_ms: int = 0
    """Between two kills of a process that is doing whatever it is doing."""
    restart_ms: int = 200
    """How long a process is down, at most."""
    linger_ms: int = 0
    """How long the broker takes a dead process for a member, at most."""
    stop_rate: float = 0.0
    """Of the kills that are a polite SIGTERM instead."""
    latency_ms: float = 0.0
    """Of each way of a call to the broker, at most."""
    pause_every_ms: int = 0
    """Between two pauses of a process (SIGSTOP, a slow disk)."""
    pause_ms: int = 0
    """How long such a pause lasts, at most."""
    evict_every_ms: int = 0
    """Between two of the broker's losing sight of a living member."""
    request_lost: float = 0.0
    """A call to the broker that fails and had no effect."""
    ack_lost: float = 0.0
    """A call to the broker that fails and had its effect."""
    partly: float = 0.0
    """A publish that fails and had a part of its effect."""
    doubled: float = 0.0
    """A publish that the client sends twice by itself."""
    echoed: float = 0.0
    """A message that comes a second time, seconds later."""
    broker_every_ms: int = 0
    """Between two crashes of the broker."""
    broker_ms: int = 0
    """How long the broker is down, at most."""
    forgets_ms: int = 0
    """How much the broker's crash takes of what it had acknowledged: that of the last so many ms, 0 = nothing."""
    message_lost: float = 0.0
    """A message that is acknowledged and not there: it never comes, or seconds later."""
    handler_raises: float = 0.0
    """A statement of a participant's handler that raises."""
    store_fails: float = 0.0
    """A transaction that fails: locked when it begins, or full when it commits."""
    jump_every_ms: int = 0
    """Between two jumps of the clock."""
    jump_ms: int = 0
    """How far the clock jumps forward, at most."""
    twins: int = 0
    """How many of the processes run twice, in one group on one database."""
    start_twice: float = 0.0
    """A start that the client publishes twice."""
    signal_ms: int = 0
    """How long a client takes for a signal, at most, beside the time in which sagas are started: it may be first."""
    silent: float = 0.0
    """A signal that its client never sends."""
    signal_twice: float = 0.0
    """A signal that the client publishes twice."""
    poison: int = 0
    """How many messages somebody publishes that cannot be read."""
    batch_max: int = 1_000
    """Messages of one poll."""
    relay_max: int = 100
    """Rows of one publish."""
    partitions: int = 3
    part_max: int = PART_MAX
    """Messages of one part of the orchestrator's batch: it can be killed between two parts."""
    replays: int = 0
    """How often everything is read again from the beginning, after all has come to rest."""

    @property
    def can_lose(self) -> bool:
        """Whether the broker may lose what it acknowledged: then only sending again heals."""
        return bool(self.forgets_ms or self.message_lost)

    def __str__(self) -> str:
        shown = {f: getattr(self, f) for f in self.__struct_fields__ if getattr(self, f) != _DEFAULTS[f]}
        return " ".join(
            f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown.items()
        )


_DEFAULTS = {f.name: f.default for f in msgspec.structs.fields(Faults)}


LINGER_MS_MAX = 2_700
"""Nine tenths of the lease, as in production: Iggy ends a silent session after 36 s, the lease ends after 40."""


def draw_faults(seed: int, *, timers: bool) -> Faults:
    """The faults of a seed. The same seed has the same faults for ever, apart from those that timers heal."""
    draw = _Draw(Random(f"{seed}:faults"))
    faults = Faults(
        fault_ms=draw.whole(1.0, 2_000, 7_500),
        crash_every=draw.whole(0.7, 30, 600),
        kill_every_ms=draw.whole(0.3, 300, 4_000),
        restart_ms=draw.whole(1.0, 20, 2_000),
        linger_ms=draw.whole(0.4, 100, LINGER_MS_MAX),
        stop_rate=draw.rate(0.5, 0.6),
        latency_ms=draw.rate(0.6, 60.0),
        pause_every_ms=draw.whole(0.35, 300, 3_000),
        pause_ms=draw.whole(1.0, 100, 4_000),
        evict_every_ms=draw.whole(0.35, 200, 3_000),
        request_lost=draw.rate(0.4, 0.2),
        ack_lost=draw.rate(0.5, 0.3),
        partly=draw.rate(0.4, 0.3),
        doubled=draw.rate(0.5, 0.4),
        broker_every_ms=draw.whole(0.4, 500, 4_000),
        broker_ms=draw.whole(1.0, 10, 3_000),
        forgets_ms=draw.whole(0.5, 20, 800),
        message_lost=draw.rate(0.35, 0.8),
        handler_raises=draw.rate(0.3, 0.4),
        store_fails=draw.rate(0.35, 0.1),
        jump_every_ms=draw.whole(0.2, 500, 4_000),
        jump_ms=draw.whole(1.0, 100, 6_000),
        twins=draw.whole(0.35, 1, 3),
        start_twice=draw.rate(0.4, 0.5),
        batch_max=draw.whole(0.5, 1, 8) or 1_000,
        relay_max=draw.whole(0.5, 1, 5) or 100,
        partitions=draw.whole(1.0, 1, 3),
        replays=draw.whole(0.4, 1, 1),
        poison=draw.whole(0.3, 1, 4),
        echoed=draw.rate(0.4, 0.3),
        signal_ms=draw.whole(0.8, 50, 4_000),
        silent=draw.rate(0.5, 0.6),
        signal_twice=draw.rate(0.4, 0.5),
        part_max=draw.whole(0.6, 1, 3) or PART_MAX,
    )
    return faults if timers else without_losses(faults)


def without_losses(faults: Faults) -> Faults:
    """The same faults without those that only a timer heals."""
    return msgspec.structs.replace(
        faults, forgets_ms=0, message_lost=0.0, handler_raises=0.0, jump_every_ms=0, silent=0.0
    )


class _Draw:
    """Draws in a fixed order, also for faults that are off: so that one fault more does not change the others."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def whole(self, on: float, low: int, high: int) -> int:
        """A number from `low` to `high` with probability `on`, small ones more often; otherwise 0."""
        is_on, place = self._random.random() < on, self._random.random()
        return low + int((high - low + 1) * place * place) if is_on else 0

    def rate(self, on: float, high: float) -> float:
        """A rate of up to `high` with probability `on`, otherwise 0."""
        is_on, place = self._random.random() < on, self._random.random()
        return high * place if is_on else 0.0
