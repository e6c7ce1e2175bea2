"""Ids go into the database and come back."""

from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from sagas.store.encoding import pack_id, unpack_id
from tests.store.builders import a_message_id


@example(a_message_id("longer") + "0")
@example(a_message_id("spaced") + " ")
@example("ABCDEF01" + a_message_id("capitals")[8:])
@given(st.text() | st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()))
def test_any_id_comes_back_as_it_went_in(text: str) -> None:
    assert unpack_id(pack_id(text)) == text


def test_an_id_of_the_engine_takes_sixteen_bytes() -> None:
    text = a_message_id("reserve")
    assert pack_id(text) == UUID(text).bytes
