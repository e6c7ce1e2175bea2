"""Mutated messages against everything that reads one: `python -m tests.hostile.fuzz --seconds 20 --seed 7`.

Theory of operation. Valid messages and settings are bent by small random edits (bytes flipped, cut, doubled,
spliced from one into another, tokens that parsers trip over) and given to the same functions that read them in
production. A message may be carried out or put away; an exception is a finding. The seed decides everything, so
a finding is repeated by its seed; how far a run comes in its time is the only thing that differs.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from random import Random
from time import perf_counter
from typing import NamedTuple

from sagas.broker.connection_string import parse_connection_string
from sagas.config import Settings
from sagas.core.envelope import Envelope, Header, decode_data, decode_envelope
from sagas.errors import SettingsError
from services.contracts import OrderCreated, ReserveInventory
from tests.hostile.rig import COMMAND, START, Rig, headers_for

ROUND = 500
"""Messages on one rig: a new one now and then keeps its databases small."""

TOKENS = (
    *(b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n"),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 40, b"18446744073709551616", b"5.0", b"Infinity"),
    *(b"[" * 600, b'{"a":' * 600, b"x" * 70, b"x" * 1_100, b"../", b"'; drop table outbox;--", b"\x1b[2J"),
    *(b"9999-12-31T23:59:59-14:00", b"0001-01-01T00:00:00+14:00", b"order.created", b"inventory.release", b'"data":'),
)
WORDS = ("", "\0", "do", "undo", "redo", "pay", "reserve", "-1", "9" * 30, "x" * 255, "\x1b[2J", "٣", "é", "retriable")
HEADERS = (
    Header.INSTANCE,
    Header.STEP,
    Header.OPERATION,
    Header.ATTEMPT,
    Header.KIND,
    Header.RETRY_COUNT,
    Header.FIRST_ID,
    "traceparent",
)
CANARY = "canary-5120"
ADDRESS = f"iggy://user:{CANARY}@127.0.0.1:8090?tls=true&tls_domain=a&heartbeat_interval=5s&nodelay=true"


class Result(NamedTuple):
    """How many inputs were given, how many of them were put away or refused, and in how many seconds."""

    executions: int
    refused: int
    seconds: float


def bent(random: Random, valid: bytes, other: bytes) -> bytes:
    """`valid` after one to four small edits."""
    payload = bytearray(valid)
    for _ in range(random.randint(1, 4)):
        at, to = sorted((random.randint(0, len(payload)), random.randint(0, len(payload))))
        match random.randrange(6):
            case 0 if payload:
                payload[min(at, len(payload) - 1)] ^= 1 << random.randrange(8)
            case 1:
                payload[at:at] = random.choice(TOKENS)
            case 2:
                payload[at : min(to, at + 12)] = random.choice(TOKENS)
            case 3:
                del payload[at:to]
            case 4:
                payload[at:at] = payload[at:to]
            case _:
                cut = random.randint(0, len(other))
                payload[at:to] = other[cut : cut + 40]
    return bytes(payload)


def bent_headers(random: Random, valid: dict[str, str]) -> dict[str, str]:
    """`valid` with some headers missing, bent or new."""
    headers = dict(valid)
    for _ in range(random.randint(0, 3)):
        name = random.choice(HEADERS)
        if random.random() < 0.4:
            headers.pop(name, None)
        else:
            said = headers.get(name, "")
            headers[name] = random.choice((*WORDS, said[1:], said + "\n", said.upper(), said[::-1]))
    return headers


def messages(random: Random, count: int) -> int:
    """`count` messages through the orchestrator and a service, then good ones; how many were put away."""
    rig = Rig()
    try:
        rig.feed("start", START)
        known = {Header.INSTANCE: rig.instances()[0].id, Header.STEP: "create", Header.OPERATION: "do"}
        for _ in range(count):
            defect = "headers: unreadable" if random.random() < 0.02 else ""
            if random.random() < 0.5:
                headers = bent_headers(random, random.choice(({}, known)))
                topic = random.choice(("orders", "orders", "inventory", "payments", "shipping"))
                rig.feed("start", bent(random, START, COMMAND), headers, topic=topic, defect=defect)
            else:
                key = random.choice(("o-1", "o-2", "o-3"))
                operation = random.choice(("do", "do", "undo"))
                headers = bent_headers(random, headers_for(key, operation=operation))
                rig.feed("command", bent(random, COMMAND, START), headers, defect=defect)
        refused = len(rig.letters("start")) + len(rig.letters("command"))
        rig.prove_alive()
        return refused
    finally:
        rig.close()


def decoding(random: Random, count: int) -> int:
    """`count` payloads through the envelope and the contracts alone; how many were none."""
    refused = 0
    for _ in range(count):
        payload = bent(random, random.choice((START, COMMAND)), START)
        envelope = decode_envelope(payload, "order_id")
        if isinstance(envelope, Envelope):
            for message_type in (OrderCreated, ReserveInventory):
                decode_data(message_type, "order_id", envelope.key, envelope.data)
        else:
            refused += 1
        decode_data(OrderCreated, "order_id", "o-1", bent(random, b'{"items":[],"total":"1.00"}', payload))
    return refused


def settings(random: Random, count: int) -> int:
    """`count` connection strings and environments; how many were refused. Only SettingsError may come of one."""
    refused = 0
    for _ in range(count):
        text = bent(random, ADDRESS.encode(), START).decode("utf-8", "surrogateescape")
        is_refused = False
        for read in _readers(random, text):
            try:
                said = str(read())
            except SettingsError as error:
                is_refused = True
                said = str(error)
            # What stands behind the last @ is an address to everybody.
            is_secret = CANARY not in text.rpartition("@")[2] or "@" not in text
            assert not (is_secret and CANARY in said), f"a secret is shown: {said!r}"
        refused += is_refused
    return refused


def _readers(random: Random, text: str) -> Sequence[Callable[[], object]]:
    name = random.choice(("IGGY_CONNECTION_STRING", "IGGY_PARTITIONS", "IGGY_STREAM", "SAGAS_DATA"))
    value = text if name == "IGGY_CONNECTION_STRING" else random.choice((*WORDS, text.replace(CANARY, "x")))
    return (
        lambda: parse_connection_string(text).server,
        lambda: repr(Settings.from_environ({"IGGY_CONNECTION_STRING": text})),
        lambda: Settings.from_environ({name: value}).partitions,
    )


Target = Callable[[Random, int], int]

TARGETS: tuple[Target, ...] = (messages, decoding, settings)


def fuzz(
    seed: int, seconds: float, *, targets: Sequence[Target] = TARGETS, say: Callable[[str], object] = print
) -> Result:
    """Fuzz for `seconds`. An exception leaves it, after the seed of its round was said."""
    began_s = perf_counter()
    executions = refused = number = 0
    while perf_counter() - began_s < seconds:
        target = targets[number % len(targets)]
        try:
            refused += target(Random(f"{seed}:{number}"), ROUND)
        except BaseException:
            say(f"found by seed {seed}, round {number} ({target.__name__})")
            raise
        executions += ROUND
        number += 1
    taken_s = perf_counter() - began_s
    say(
        f"seed {seed}: {executions} inputs in {taken_s:.1f} s ({executions / taken_s:.0f}/s), "
        f"{refused} refused, 0 raised"
    )
    return Result(executions, refused, taken_s)


def main(arguments: Sequence[str]) -> None:
    """The command: `--seconds` and `--seed`."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.fuzz", description="Mutated messages and settings.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.getLogger("sagas").setLevel(logging.ERROR)  # every dead letter is a warning
    fuzz(options.seed, options.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
