"""`sagas rollout` on waits and delays: a run stands there as it does at a step, and signals are messages, too."""

from pathlib import Path
from typing import Any

import pytest

from sagas import Absence, Event, Participant, Saga, unchanged
from sagas.cli.rollout import judged, report
from sagas.core.definition import Definition
from sagas.runtime.admission import StrandedInstances, admit
from sagas.runtime.catalog import Catalog
from sagas.store.sqlite import SqliteStore
from tests.core.variants import SHOP, Begun, Data, a_command, a_message
from tests.runtime.node import NOW_MS, Node

DESK = Participant("desk", key="k")
OTHER_DESK = Participant("other_desk", key="k")
AGREED = a_message("Agreed", "agreed")
AGREED_BY_NAME = a_message("Agreed", "agreed", {"who": str})


def tale(
    version: int,
    *,
    wait: str = "approval",
    signal: type[Event] = AGREED,
    on: Participant = DESK,
    absence: Absence = "refusal",
    delay: str = "rest",
    renames: dict[str, str] | None = None,
) -> Definition:
    """`approval >> rest >> pay`, without the wait or the delay when it has no name."""
    saga: Saga[Data] = Saga("tale", Data, version=version, key="k", renames=renames)

    def begin(event: Begun) -> Data:
        return Data(event.k)

    def said(data: Data, signal: Event) -> Data:
        return data

    def rest(data: Data) -> float:
        return 60 * len(data.k)

    command = a_command("pay")

    def pay(data: Data) -> Any:
        return command(k=data.k)

    saga.start(on=SHOP)(begin)
    said.__name__, rest.__name__ = wait, delay
    said.__annotations__["signal"], pay.__annotations__["return"] = signal, command
    step = saga.step(to=SHOP, timeout=30, unknown="undo", leaves_nothing=True)(pay)
    step.reply(unchanged)
    course: Any = step
    if delay:
        course = saga.delay(rest) >> course
    if wait:
        course = saga.wait(on=on, timeout=86_400, absence=absence)(said) >> course
    saga.flow(course)
    return saga.definition


V1 = tale(1)


def at_its_wait(path: Path, definition: Definition = V1) -> SqliteStore:
    store = SqliteStore(path / "orchestrator.db")
    assert Node(store, definition).start("o-1").state == "approval.waiting"
    return store


CHANGES = [
    (
        tale(2, wait=""),
        "removed",
        "state 'approval.waiting' no longer exists",
        "nothing waits for it on 'desk' any more",
    ),
    (tale(2, wait="word"), "removed", "state 'approval.waiting' no longer exists", ""),
    (tale(2, signal=AGREED_BY_NAME), "changed", "who is new and required", "who is new and required"),
    (tale(2, on=OTHER_DESK), "changed", "took its signals from 'desk'", "nothing waits for it on 'desk' any more"),
]


@pytest.mark.parametrize(("new", "change", "why", "unread"), CHANGES)
def test_a_wait_that_its_runs_cannot_stand_at_any_more_is_told_without_any_run(
    new: Definition, change: str, why: str, unread: str, tmp_path: Path
) -> None:
    found = report("tale", [V1], [new], None)

    assert found.verdict == "stranded"
    (wait,) = [each for each in found.steps if each.step == "approval"]
    assert (wait.change, wait.verdict) == (change, "stranded")
    assert why in "; ".join(wait.reasons)
    assert [reason for message in found.messages for reason in message.reasons] == ([unread] if unread else [])
    store = at_its_wait(tmp_path)
    with pytest.raises(StrandedInstances, match=why):
        admit([new], store, NOW_MS)
    store.close()


def test_a_wait_that_means_something_else_when_nobody_signals_is_changed_and_strands_nobody(tmp_path: Path) -> None:
    consent = tale(2, absence="consent")

    (wait,) = [each for each in report("tale", [V1], [consent], None).steps if each.step == "approval"]

    assert (wait.change, wait.verdict) == ("changed", "continues unchanged")
    assert wait.reasons == ("absence: refusal → consent",)
    store = at_its_wait(tmp_path)
    assert Node(store, consent).signal("o-1", "agreed", "desk").state == "rest.delaying"
    store.close()


def test_a_delay_that_is_gone_is_told_without_any_run() -> None:
    steps = {each.step: each for each in report("tale", [V1], [tale(2, delay="")], None).steps}

    assert (steps["rest"].change, steps["rest"].verdict) == ("removed", "stranded")
    assert steps["rest"].reasons == ("state 'rest.delaying' no longer exists",)
    assert steps["approval"].verdict == "continues unchanged"


def test_a_run_that_is_held_at_its_wait_needs_its_signals_too(tmp_path: Path) -> None:
    held, named = tale(1, absence="hold"), tale(2, absence="hold", signal=AGREED_BY_NAME)
    store = at_its_wait(tmp_path, held)
    node = Node(store, held)
    while node.instance("o-1").state != "stuck":
        node.fire()

    with pytest.raises(StrandedInstances, match="who is new and required"):
        admit([named], store, NOW_MS)
    store.close()


def test_waits_and_delays_are_renamed_like_steps(tmp_path: Path) -> None:
    new = tale(2, wait="word", delay="nap", renames={"approval": "word", "rest": "nap"})
    steps = {each.step: (each.change, each.verdict) for each in report("tale", [V1], [new], None).steps}
    assert steps == {
        "approval": ("renamed", "continues under a mapping"),
        "rest": ("renamed", "continues under a mapping"),
        "pay": ("unchanged", "continues unchanged"),
    }
    store = at_its_wait(tmp_path)
    waiting = store.instance("tale", "o-1")
    assert waiting is not None
    verdict, reasons, _ = judged(Catalog([new], store), waiting)
    assert (verdict, reasons) == ("continues under a mapping", ("approval is word",))

    node = Node(store, new)
    assert node.signal("o-1", "agreed", "desk").state == "nap.delaying"
    node.fire()
    assert node.reply("o-1", "pay", "pay.done").state == "completed"
    store.close()


def test_the_timers_of_a_renamed_wait_and_delay_come_due(tmp_path: Path) -> None:
    new = tale(2, wait="word", delay="nap", absence="consent", renames={"approval": "word", "rest": "nap"})
    store = at_its_wait(tmp_path)
    node = Node(store, new)
    node.now_ms += 86_400_000
    node.fire()
    assert node.instance("o-1").state == "nap.delaying"
    store.close()


def test_what_a_renamed_wait_takes_is_compared_too(tmp_path: Path) -> None:
    new = tale(2, wait="word", signal=AGREED_BY_NAME, renames={"approval": "word"})
    store = at_its_wait(tmp_path)

    with pytest.raises(StrandedInstances, match="wait 'word': its answer 'agreed': who is new and required"):
        admit([new], store, NOW_MS)
    store.close()


def test_an_old_version_that_is_kept_finishes_its_waits() -> None:
    steps = {each.step: each.verdict for each in report("tale", [V1], [tale(2, wait="", delay=""), V1], None).steps}

    assert set(steps.values()) == {"finishes on the old version"}
