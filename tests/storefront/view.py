"""A read model in a rig's folder, written as the projector does, and a stream of events that is read bit by bit."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from sagas.ports import Incoming
from sagas.store.generations import Generations
from sagas.store.participant import SqliteParticipantStore
from services.projector.projection import orders_view
from services.storefront.app import storefront
from tests.projector.corpus import messages
from tests.storefront.rig import NOW_MS, Rig

TURNS = 200


@cache
def corpus() -> list[Incoming]:
    """Everything a whole system has published, the event store last."""
    found: list[list[Incoming]] = []

    def run() -> None:
        found.append([incoming for lane in anyio.run(messages).values() for incoming in lane])

    # In a thread of its own: the test that asks first has a loop running.
    import threading

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def of_order(order_id: str, topic: str) -> list[Incoming]:
    """The messages of an order in a topic."""
    return [m for m in corpus() if m.topic == topic and f'"{order_id}"'.encode() in m.payload]


class View:
    """The read model of a rig, generation by generation."""

    def __init__(self, rig: Rig) -> None:
        self._generations = Generations(rig.folder, orders_view.name)
        self._number = 0
        self.begin()

    def begin(self) -> None:
        """Begin another generation; it is current at once."""
        self._number += 1
        SqliteParticipantStore(self._generations.path(self._number), orders_view.migrations).close()
        self._generations.make_current(self._number)
        self._generations.remove_older(self._number, lambda waiting: None)

    def fold(self, batch: Sequence[Incoming]) -> None:
        """Fold messages into the current one."""
        store = SqliteParticipantStore(self._generations.path(self._number), orders_view.migrations)
        orders_view.process(batch, store, NOW_MS)
        store.close()


class Stream:
    """A response that is being received."""

    def __init__(self) -> None:
        self.status = 0
        self.text = ""
        self.has_ended = False
        self._gone = anyio.Event()

    def leave(self) -> None:
        """Close the connection from the client's side."""
        self._gone.set()

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events so far: id and data of each, "end" for the last one."""
        found: list[tuple[str, Any]] = []
        for block in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in fields:
                found.append((fields.get("id", fields["event"]), msgspec.json.decode(fields["data"])))
        return found

    async def receive(self) -> dict[str, Any]:
        """What the application waits for: that the client has gone."""
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take what the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message["body"].decode()
            self.has_ended = not message.get("more_body", False)
        await checkpoint()


@asynccontextmanager
async def listening(rig: Rig, order_id: str, last: str = "") -> AsyncGenerator[Stream]:
    """The events of an order, while the storefront looks at the read model on virtual time."""
    stream = Stream()
    headers = [(b"last-event-id", last.encode())] if last else []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": f"/orders/{order_id}/events",
        "query_string": b"",
        "headers": headers,
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(storefront(rig.parts), scope, stream.receive, stream.send)
        tasks.start_soon(rig.parts.watch.run)
        await turns(rig, 0)
        yield stream
        tasks.cancel_scope.cancel()


async def turns(rig: Rig, duration_ms: int) -> None:
    """Let time pass, and everybody do what there is to do."""
    for _ in range(TURNS):
        await checkpoint()
    if duration_ms:
        rig.clock.advance(duration_ms)
        await turns(rig, 0)
