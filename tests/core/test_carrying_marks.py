"""A run with decisions and waits behind it, under a version that calls them otherwise."""

from dataclasses import replace

import msgspec

from sagas.core.effects import CarryOver, Start
from sagas.core.kernel import decide
from tests.core.courses import Data, Maker


def test_what_a_decision_and_a_wait_came_to_goes_along_under_their_new_names() -> None:
    m = Maker()
    definition = replace(m.close(m.step("a") >> m.wait(absence="hold")), renames={"old": "word"})
    run = decide(definition, None, Start(key="k-1", data=definition.encode_data(Data("k-1"))), 1).instance
    assert run is not None
    marked = msgspec.structs.replace(run, version=0, marks=(("old", "Agreed"),), signals=(("old", "agreed", b"{}"),))
    message = CarryOver(from_version=0, from_content=run.content)
    after = decide(definition, marked, message, 2).instance
    assert after is not None
    assert (after.mark("word"), after.signal("word")) == ("Agreed", ("agreed", b"{}"))
