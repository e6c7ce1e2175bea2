"""What an orchestrator refuses to be loaded with."""

import pytest

from sagas import DefinitionError
from sagas.runtime.intake import Intake
from tests.core.courses import Maker
from tests.core.parcels import SAGAS


def test_two_sagas_that_one_event_would_start_are_refused_with_both_names() -> None:
    first, second = Maker("first"), Maker("second")
    definitions = [first.close(first.step("a")), second.close(second.step("b"))]

    with pytest.raises(DefinitionError) as caught:
        Intake(definitions)

    assert "saga 'second'" in str(caught.value)
    assert "is started by 'begun' on 'place', and so is saga 'first'" in str(caught.value)
    assert "an event of its own" in caught.value.remedy


def test_versions_of_one_saga_may_share_the_event_that_starts_it() -> None:
    definition = SAGAS["first"].definition
    assert Intake([definition, definition]).topics
