"""What an author's function has built to be sent: encoded at once, where a mistake is still that function's."""

from sagas.core.envelope import encode_data
from sagas.core.messages import Message


def said(message: object, expected: type[Message], key_field: str) -> bytes:
    """The `data` of what was built. Raises TypeError for what is no message, or none of these.

    And whatever encoding raises.
    """
    if not isinstance(message, expected):
        raise TypeError(f"it returned {type(message).__name__}, expected {expected.__name__}")
    return encode_data(message, key_field)
