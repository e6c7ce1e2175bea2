"""What is measured: the instruments, under Prometheus' naming.

Base units (seconds, messages), counters end in `_total`, and labels have few values that the program itself names:
sagas, steps, end states, topics, types of answers. No id and no key is ever a label, for those have no bound.
The alert rules and the dashboard of `deploy/` are held against this registry by a test.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of what one call to broker or database takes."""

STEP_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Bounds of what waits for other services."""

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Bounds of how much one batch has."""


class Instruments:
    """All instruments of a process, in `registry`. Each process has those of its role in use, the others stay empty."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"sagas_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"sagas_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"sagas_{name}", text, labels, buckets=bounds, registry=registry)

        self.registry = registry
        self.build = gauge("build_info", "1, with the release and the process in its labels.", "version", "process")
        self.started = counter("started", "Instances that were started.", "saga")
        ended = (
            "Instances that this process brought to rest, by the state they rest in: none that a person's command "
            "ended by itself (`sagas abandon`, `resolve`, `cancel`)."
        )
        self.ended = counter("ended", ended, "saga", "state")
        self.got_stuck = counter("got_stuck", "Times an instance began to wait for a person.", "saga")
        self.duration_s = histogram("duration_seconds", "From an instance's start to its end.", STEP_S, "saga", "state")
        self.step_s = histogram(
            "step_duration_seconds", "From a step's command to its answer.", STEP_S, "saga", "step", "operation"
        )
        self.inputs = counter("inputs", "Inputs decided by the kernel, by how they stood.", "verdict")
        self.parked = counter("parked", "Replies that came early and are tried again.")
        self.dead_letters = counter("dead_letters", "Messages that could not be dealt with.")
        self.answers = counter("command_answers", "Answers that a participant gave, by their type.", "answer")
        self.polls = counter("polls", "Polls of the broker, by what they brought.", "result")
        self.poll_s = histogram("poll_duration_seconds", "One poll of the broker.", CALL_S)
        self.batch = histogram("batch_messages", "Messages that one poll brought; empty polls are left out.", COUNTS)
        self.delay_s = histogram(
            "message_delay_seconds", "From the broker's receipt of a batch's first message to its poll.", STEP_S
        )
        self.commit_s = histogram("commit_duration_seconds", "One write transaction, the work in it included.", CALL_S)
        self.commit_failures = counter("commit_failures", "Transactions that were rolled back.", "reason")
        self.published = counter("published", "Messages that the broker acknowledged.")
        self.publish_s = histogram("publish_duration_seconds", "One publication of a batch from the outbox.", CALL_S)
        self.broker_failures = counter("broker_failures", "Calls of the broker that failed.", "call")
        self.lag = gauge("consumer_lag_messages", "Messages that this group has not dealt with yet.", "topic")
        self.in_flight = gauge("in_flight", "Instances that are neither ended nor stuck.")
        self.stuck = gauge("stuck", "Instances that wait for a person.", "saga")
        self.outbox_rows = gauge("outbox_rows", "Rows of the outbox that are not published yet.")
        self.outbox_age_s = gauge("outbox_oldest_age_seconds", "Age of the oldest of them; 0 when there is none.")
        self.timers_overdue = gauge("timers_overdue", "Timers whose time has come and that have not fired.")
        self.timer_age_s = gauge("timer_overdue_seconds", "How long the longest overdue timer is due; 0 for none.")
        self.letters_open = gauge("dead_letters_open", "Dead letters that nobody has dealt with.")
        self.up = gauge("broker_up", "Whether the last call of the broker succeeded.")
        self.is_up = False

    def note_broker(self, *, is_up: bool) -> None:
        """Note whether a call of the broker succeeded."""
        if is_up is not self.is_up:
            self.is_up = is_up
            self.up.set(int(is_up))
