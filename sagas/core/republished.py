"""Which message it is that came, for one that was published again goes under an id of its own.

Theory of operation. What the engine publishes again, by itself or because a person says so, must have a new id: its
reader has noted the old one and would take it for a repeat. The topic has other readers, though, who dealt with it
when it came first. So the first id goes along in a header, and stays the same however often that happens;
whoever only has to know whether he had this event before goes by it. The orchestrator does so too, and notes both
ids: of an event and its copies it counts the one that comes first. What it has published again itself is to be dealt
with: then the first id is not noted, or is forgotten when its dead letter is sent again (`store/letter_file.py`).
"""

from collections.abc import Mapping

from sagas.core.envelope import Header
from sagas.core.ids import is_message_id


def first_id(message_id: str, headers: Mapping[str, str]) -> str:
    """The id under which a message came first: `message_id`, unless its headers say another.

    Anybody may have written the header: what is no id as brokers give them is passed over. Whoever can write it can
    give a message any id as well, so it lets nobody do more.
    """
    said = headers.get(Header.FIRST_ID, "")
    return said if is_message_id(said) else message_id
