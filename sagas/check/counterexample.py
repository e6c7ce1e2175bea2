"""A broken law, told: in words, as a sequence diagram, and as a scenario test that fails as long as it is broken."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sagas.check.code import Code
from sagas.check.laws import LAWS, Broken, Law
from sagas.check.retelling import Told
from sagas.core.definition import Definition
from sagas.core.instance import COMPENSATED, COMPLETED, REJECTED, STUCK, leaf_of
from sagas.core.participants import Participant


class Counterexample(msgspec.Struct, frozen=True, kw_only=True):
    """The shortest run that breaks a law.

    `messages` counts what was delivered, read, fired or said after the start. `is_retold`: the course was gone
    through again with the real kernel and real times, and it came out the same.
    """

    law: Law
    promise: str
    how: str
    messages: int
    words: tuple[str, ...]
    sequence: str
    scenario: str
    is_retold: bool


Dictated = Mapping[str, Mapping[str, Any]]
"""What a run's functions have said, as `Scenario` takes it: its `lists`, step → keys and items, and its `choices`."""


def counterexample(
    definition: Definition, broken: Broken, told: Sequence[Told], source: str, dictated: Dictated, *, is_retold: bool
) -> Counterexample:
    """Tell it. `source` is where the saga is found, as `module:name`."""
    return Counterexample(
        law=broken.law,
        promise=LAWS[broken.law],
        how=broken.how,
        messages=sum(t.kind not in ("start", "away") for t in told),
        words=tuple(_words(definition, told)),
        sequence=_sequence(definition, broken, told),
        scenario=_scenario(definition, broken, told, source, dictated),
        is_retold=is_retold,
    )


# --------------------------------------------------------------------------- in words


def _words(definition: Definition, told: Sequence[Told]) -> Iterable[str]:
    for happened in told:
        yield _said(definition, happened) + _outcome(happened)


def _said(definition: Definition, told: Told) -> str:
    match told.kind:
        case "start":
            return f"{_name(told)} starts the run"
        case "deliver":
            assert told.delivery is not None
            answer = f", answers {_tag(definition, told)}" if told.delivery.answer else ""
            return f"{_service(definition, told.step)} gets {_command(definition, told)}: {told.delivery.what}{answer}"
        case "reply":
            taken = "its timeout is taken for " if told.timer else ""
            return f"{taken}{_name(told)} of {told.step}{_undo(told)} reaches the saga"
        case "fire":
            kind = told.fire.kind if told.fire is not None else "retry"
            return f"the timer fires: {kind} of {told.step or 'the whole run'}"
        case "act":
            return f"a person: {told.action}{f' {told.step}' if told.step else ''}"
        case "signal":
            return f"{_name(told)} comes from outside{f' on {told.topic}' if told.topic else ''}"
        case "away":
            return f"{told.seconds:g} s pass"
        case "crash":
            return f"{_command(definition, told)} is published, and the orchestrator dies before it commits"


def _outcome(told: Told) -> str:
    if told.raised:
        return f" → decide raises {told.raised}"
    went = f" → {' → '.join(told.path[1:])}" if told.path else ""
    taken = f" ({told.verdict})" if told.verdict != "advance" else ""
    return f"{went}{taken}"


def _undo(told: Told) -> str:
    return "'s undo" if told.operation == "undo" else ""


def _name(told: Told) -> str:
    return type(told.reply).__name__


def _tag(definition: Definition, told: Told) -> str:
    assert told.delivery is not None
    assert told.delivery.answer is not None
    tag = told.delivery.answer.tag
    spec = definition.steps[leaf_of(told.step)]
    replies = {**spec.replies, **(spec.undo.replies if spec.undo is not None else {})}
    return replies[tag].__name__ if tag in replies else tag.removeprefix("sagas.")


def _service(definition: Definition, step: str) -> str:
    return definition.steps[leaf_of(step)].to.name


def _command(definition: Definition, told: Told) -> str:
    spec = definition.steps[leaf_of(told.step)]
    wanted = spec.undo.command_type if told.operation == "undo" and spec.undo is not None else spec.command_type
    return wanted.__name__


# --------------------------------------------------------------------------- as a drawing


def _sequence(definition: Definition, broken: Broken, told: Sequence[Told]) -> str:
    services = dict.fromkeys(_service(definition, t.step) for t in told if t.kind in ("deliver", "reply") and t.step)
    lines = ["sequenceDiagram", "    participant saga"]
    lines += [f"    participant p_{_plain(name)} as {_label(name)}" for name in services]
    for happened in told:
        lines += [f"    {line}" for line in _arrows(definition, happened)]
    lines.append(f"    Note over saga: {_label(f'{broken.law}: {broken.how}')}")
    return "\n".join(lines) + "\n"


def _arrows(definition: Definition, told: Told) -> Iterable[str]:
    service = f"p_{_plain(_service(definition, told.step))}" if leaf_of(told.step) in definition.steps else "saga"
    if told.kind == "deliver":
        assert told.delivery is not None
        yield f"saga->>{service}: {_label(_command(definition, told))}"
        yield f"Note over {service}: {_label(told.delivery.what)}"
    elif told.kind == "reply" and not told.timer:
        yield f"{service}-->>saga: {_label(_name(told))}"
    else:
        yield f"Note over saga: {_label(_said(definition, told))}"
    outcome = _outcome(told).strip()
    if outcome:
        yield f"Note over saga: {_label(outcome)}"


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in name)


def _label(text: str) -> str:
    # Mermaid ends a message at `;` and reads `#` as the begin of a character's number.
    return "".join(c if c.isalnum() or c in " .,_-·()'→:" else f"#{ord(c)};" for c in text)


# --------------------------------------------------------------------------- as a test


def _scenario(definition: Definition, broken: Broken, told: Sequence[Told], source: str, dictated: Dictated) -> str:
    code = Code()
    module, _, name = source.partition(":")
    code.wanted.setdefault(module, set()).add(name)
    code.wanted.setdefault("sagas.testing", set()).add("Scenario")
    lost = {(t.step, t.operation) for t in told if t.kind == "crash"}
    told_as = ", ".join([name, *(f"{what}={code.of(said)}" for what, said in dictated.items() if said)])
    first, *body = [line for happened in told for line in _lines(definition, happened, code, lost)]
    body += _judgement(broken)
    counters = [c for c in ("standing", "undone") if any(f"{c}[" in line for line in body)]
    return "\n".join(
        [
            f'"""Found by `sagas check`: {broken.law}: {_quoted(broken.how)}"""',
            "",
            *(["from collections import Counter", ""] if counters else []),
            code.imports,
            "",
            "",
            f"def test_{_plain(definition.name)}_{broken.law}() -> None:",
            f'    """{LAWS[broken.law].capitalize()}."""',
            first.replace("SAGA", told_as),
            *(f"    {counter}: Counter[str] = Counter()" for counter in counters),
            *body,
            "",
        ]
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _lines(definition: Definition, told: Told, code: Code, lost: Collection[tuple[str, str]]) -> Iterable[str]:
    match told.kind:
        case "start":
            yield f"    story = Scenario(SAGA).start_event({code.of(told.reply)})"
        case "deliver":
            assert told.delivery is not None
            yield f"    # {_said(definition, told)}"
            yield from _truth(told, is_lost=(told.step, told.operation) in lost)
        case "reply":
            operation = ', operation="undo"' if told.operation == "undo" else ""
            yield f'    story.late("{told.step}", {code.of(told.reply)}{operation})'
        case "fire":
            kind = f', kind="{told.fire.kind}"' if told.fire is not None and told.fire.kind == "timeout" else ""
            yield f'    story.fires("{told.timer}"{kind})'
        case "signal":
            on = f", on={code.of(Participant(told.topic, definition.key))}" if told.topic else ""
            yield f"    story.signal({code.of(told.reply)}{on})"
        case "act":
            yield f'    story.operate("{told.action}")'
            if told.action == "resolve-undone":
                yield f'    standing["{told.step}"] = 0'
        case "away":
            yield f"    story.away(seconds={told.seconds:g})"
        case "crash":
            yield f"    # {_said(definition, told)}"


def _truth(told: Told, *, is_lost: bool) -> Iterable[str]:
    """What is so outside from now on, provided that the command was sent; a lost one was by a run that forgot it."""
    assert told.delivery is not None
    local, what, step = told.delivery.local, told.delivery.what, told.step
    facts: list[str] = []
    if told.operation == "undo" and what == "undone":
        facts = [f'undone["{step}"] += 1'] if local.is_undone else []
        facts.append(f'standing["{step}"] = {local.effect}')
    elif what.endswith(("done", "remains", "refused")) and (local.effect or told.operation == "undo"):
        facts = [f'standing["{step}"] = {local.effect}']
    if facts and is_lost:
        yield from (f"    {fact}" for fact in facts)
    elif facts:
        yield f'    if story.said("{step}", "{told.operation}"):'
        yield from (f"        {fact}" for fact in facts)


def _judgement(broken: Broken) -> Iterable[str]:
    because = f", {broken.how!r}"
    step = broken.step
    ends = (COMPLETED, COMPENSATED, REJECTED, STUCK)
    match broken.law:
        case "rest":
            wanted = int("does not stand" in broken.how)
            yield f'    assert story.state != "{broken.state}" or standing["{step}"] == {wanted}{because}'
        case "pivot" | "order":
            yield f'    assert not (undone["{step}"] and standing["{broken.other}"]){because}'
        case "once":
            yield f'    assert standing["{step}"] in (0, 1){because}'
        case "ledger":
            yield f'    assert not standing["{step}"] or story.effect("{step}") not in ("undone", "refused"){because}'
        case "answered":
            yield f'    assert story.journal[-1].verdict not in ("violation", "early"){because}'
        case "author":
            yield f'    assert " raised " not in story.instance.reason{because}'
        case "drawn":
            yield f"    assert story.undrawn == []{because}"
        case "same":
            yield f'    assert len(story.said("{step}", "{broken.operation}")) <= 1{because}'
        case "patience":
            yield "    state = story.state"
            yield f'    story.fires("{step}", kind="timeout")'
            yield f"    assert story.state == state{because}"
        case "wait" if step:
            yield f"    raise AssertionError({broken.how!r})  # the participant's barrier, not the saga"
        case "wait":
            name = broken.other
            yield "    happened = len(story.journal)"
            yield f'    story.fires("{name}").fires("{name}").fires("{name}")'
            yield "    went_on = story.journal[happened:]"
            yield f'    is_alive = any(entry.path or "{name}" in {{s.step for s in entry.sent}} for entry in went_on)'
            yield f'    assert is_alive or story.state != "{broken.state}"{because}'
        case "liveness" if broken.state == STUCK:
            yield '    for action in ("retry", "resolve-done", "resolve-undone"):'
            yield "        story.operate(action)"
            yield f'    assert story.state != "{STUCK}"{because}'
        case "liveness":
            yield "    story.after(seconds=3600)"
            yield f"    assert story.state in {ends}{because}"
