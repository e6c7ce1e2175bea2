"""A run is freed by an answer while another branch's answer was read and could not be folded."""

import msgspec

from sagas import Command, Event, Participant, Saga, unchanged
from sagas.core.definition import Definition
from sagas.core.effects import Operate
from sagas.core.envelope import Header, encode_message
from sagas.core.ids import answer_id, derived_id, timed_id
from sagas.core.instance import Instance
from sagas.ports import Incoming
from sagas.runtime.orchestrator import Orchestrator
from sagas.store.sqlite import SqliteStore

NOW_MS = 1_700_000_000_000
HOUSE = Participant("house", key="parcel_id")


class Asked(Event, tag="asked"):
    parcel_id: str


class Weighed(Event, tag="weighed"):
    parcel_id: str


class Weigh(Command[Weighed], tag="weigh"):
    parcel_id: str


class Packed(Event, tag="packed"):
    parcel_id: str
    box: str


class Pack(Command[Packed], tag="pack"):
    parcel_id: str


class Parcel(msgspec.Struct, frozen=True):
    """Which box it is in."""

    parcel_id: str
    box: str = ""


class Defects:
    """What in the author's code raises, until it is mended."""

    def __init__(self) -> None:
        self.found = {"fold"}


def a_saga(defects: Defects) -> Definition:
    """`weigh & pack`, where weighing waits for a person when nobody answers, and packing asks until somebody does."""
    saga = Saga("parcel", Parcel, version=1)

    @saga.start(on=HOUSE)
    def begin(event: Asked) -> Parcel:
        return Parcel(event.parcel_id)

    @saga.step(to=HOUSE, timeout=5, unknown="hold", leaves_nothing=True)
    def weigh(parcel: Parcel) -> Weigh:
        if "build" in defects.found:
            raise ValueError("another defect")
        return Weigh(parcel_id=parcel.parcel_id)

    @saga.step(to=HOUSE, timeout=3600, unknown="ask", leaves_nothing=True)
    def pack(parcel: Parcel) -> Pack:
        return Pack(parcel_id=parcel.parcel_id)

    @pack.reply
    def _(parcel: Parcel, reply: Packed) -> Parcel:
        if "fold" in defects.found:
            raise ValueError("a defect")
        return msgspec.structs.replace(parcel, box=reply.box)

    weigh.reply(unchanged)
    saga.flow(weigh & pack)
    return saga.definition


def incoming(event: Event, message_id: str, offset: int, headers: dict[str, str]) -> Incoming:
    payload = encode_message(event, message_id=message_id, key_field="parcel_id", key="p-1", now_ms=NOW_MS)
    return Incoming(
        id=message_id,
        topic=HOUSE.events,
        partition=0,
        offset=offset,
        timestamp_ms=NOW_MS,
        payload=payload,
        headers=headers,
    )


def answer(run: Instance, step: str, event: Event, offset: int) -> Incoming:
    """As a participant gives it: under one id, however often it is asked."""
    headers = {Header.INSTANCE: run.id, Header.STEP: step, Header.OPERATION: "do"}
    return incoming(event, answer_id(derived_id(run.id, step, "do")), offset, headers)


def test_what_is_asked_once_more_when_a_run_is_freed_by_an_answer_may_be_answered_again() -> None:
    defects = Defects()
    definition, store = a_saga(defects), SqliteStore(":memory:")

    def run() -> Instance:
        found = store.instance("parcel", "p-1")
        assert found is not None
        return found

    node, packed = Orchestrator([definition], store), Packed(parcel_id="p-1", box="blue")
    node.process([incoming(Asked(parcel_id="p-1"), timed_id(NOW_MS, "start"), 0, {})], NOW_MS)
    node.process([answer(run(), "pack", packed, 1)], NOW_MS + 1_000)
    defects.found = {"build"}
    retry = Operate(action="retry", who="ann", reason="mended", revision=run().revision)
    assert not isinstance(node.operate(run().id, retry, NOW_MS + 2_000), str)
    assert run().stuck_step == "weigh"
    defects.found = set()
    node.process([answer(run(), "weigh", Weighed(parcel_id="p-1"), 2)], NOW_MS + 3_000)
    assert run().state == "pack.pending"
    node.process([answer(run(), "pack", packed, 3)], NOW_MS + 4_000)
    assert (run().state, definition.decode_data(run().data)) == ("completed", Parcel("p-1", "blue"))
    store.close()
