"""How the client's texts are understood, how an address is read, and that a password is never shown."""

import pytest

from sagas.broker.connection_string import Credentials, IggyAddress, parse_connection_string
from sagas.broker.iggy import IggyBroker
from sagas.broker.iggy_errors import Refusal, Refused, classify
from sagas.errors import BrokerUnavailable, SettingsError

SECRET = "swordfish"


@pytest.mark.parametrize(
    "text",
    [
        *("Disconnected", "Cannot establish connection", "Not connected", "Connection closed", "Client shutdown"),
        *("Stale client", "TCP error", "Unauthenticated", "Request transiently not committed; retry"),
        *(
            "Request transiently not accepted; retry, on any replica",
            "Request already applied; its reply is no longer available",
        ),
    ],
)
def test_a_lost_connection_or_an_unknown_outcome_is_unavailability(text: str) -> None:
    assert isinstance(classify("send", text), BrokerUnavailable)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("Stream with name:  already exists.", Refusal.EXISTS),
        ("Consumer group with name:  for topic with ID: 0 already exists.", Refusal.EXISTS),
        ("Topic with ID: 0 for stream with ID: 0 was not found.", Refusal.NOT_FOUND),
        ("Resource with key:  was not found.", Refusal.NOT_FOUND),
        ("Consumer group member with client ID: 0 for group with ID: 0 was not found.", Refusal.NOT_A_MEMBER),
        ("Invalid offset: 0", Refusal.INVALID_OFFSET),
        ("Unsupported option key: ", Refusal.UNSUPPORTED_OPTION),
        ("Invalid credentials", Refusal.OTHER),
        ("Incompatible binary protocol version: client 0.11.0, server accepts [0.10.0, 0.10.9]", Refusal.OTHER),
    ],
)
def test_a_refusal_says_why_and_is_not_unavailability(text: str, refusal: Refusal) -> None:
    error = classify("create topic 'orders'", text)
    assert isinstance(error, Refused)
    assert not isinstance(error, BrokerUnavailable)
    assert (error.refusal, str(error)) == (refusal, f"create topic 'orders': {text}")


def test_a_connection_string_says_where_and_who() -> None:
    assert parse_connection_string("iggy://root:pw@broker.example:8090") == IggyAddress(
        server="broker.example:8090", credentials=Credentials(username="root", password="pw")
    )


def test_the_options_of_a_connection_string_are_read() -> None:
    text = (
        "iggy+tcp://root:pw@10.0.0.7:8090?tls=true&tls_domain=iggy.local&tls_ca_file=/etc/ca.pem"
        "&heartbeat_interval=500ms&nodelay=false&reconnection_retries=unlimited&reestablish_after=5s"
    )
    assert parse_connection_string(text) == IggyAddress(
        server="10.0.0.7:8090",
        credentials=Credentials(username="root", password="pw"),
        heartbeat_ms=500,
        is_tls=True,
        tls_domain="iggy.local",
        tls_ca_file="/etc/ca.pem",
    )


def test_a_single_credential_is_a_token() -> None:
    address = parse_connection_string("iggy://abc123@localhost:8090")
    assert address.credentials == Credentials(token="abc123")


def test_a_password_may_hold_an_at_sign_and_colons() -> None:
    address = parse_connection_string("iggy://root:p@ss:w%41rd@localhost:8090")
    assert address.credentials == Credentials(username="root", password="p@ss:w%41rd")


WRONG = [
    "",
    f"http://root:{SECRET}@localhost:8090",
    f"iggy+quic://root:{SECRET}@localhost:8090",
    f"root:{SECRET}@localhost:8090",
    "iggy://localhost:8090",
    f"iggy://root:{SECRET}",
    f"iggy://root:pa@{SECRET}",
    f"iggy://root:pa@{SECRET}:x",
    f"iggy://root:pa?{SECRET}@localhost",
    f"iggy://:{SECRET}@localhost:8090",
    "iggy://root:@localhost:8090",
    f"iggy://root:{SECRET}@:8090",
    f"iggy://root:{SECRET}@localhost:",
    f"iggy://root:{SECRET}@localhost:0",
    f"iggy://root:{SECRET}@localhost:65536",
    f"iggy://root:{SECRET}@localhost:٣",
    f"iggy://root:{SECRET}@localhost:8090?color={SECRET}",
    f"iggy://root:{SECRET}@localhost:8090?{SECRET}",
    f"iggy://root:{SECRET}@localhost:8090?heartbeat_interval={SECRET}",
    f"iggy://root:{SECRET}@localhost:8090?heartbeat_interval=0s",
    f"iggy://root:{SECRET}@localhost:8090?tls={SECRET}",
]


@pytest.mark.parametrize("text", [*WRONG, f"iggy://root:{SECRET}@localhost:{'9' * 5_000}"])
def test_a_wrong_connection_string_is_refused_without_showing_any_secret(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        IggyBroker.from_connection_string(text, stream="shop")
    assert SECRET not in repr(caught.value)
    # What a traceback prints besides: no cause may carry the text either.
    assert caught.value.__cause__ is None
    assert SECRET not in repr(caught.value.__context__)


def test_nothing_that_is_printed_shows_the_password() -> None:
    address = parse_connection_string(f"iggy://root:{SECRET}@localhost:8090")
    token = parse_connection_string(f"iggy://{SECRET}@localhost:8090")
    broker = IggyBroker("localhost:8090", username="root", password=SECRET, stream="shop")
    for shown in (address, address.credentials, token, token.credentials, broker):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
    assert repr(broker) == "IggyBroker('localhost:8090', stream='shop')"


@pytest.mark.anyio
async def test_an_unreachable_broker_is_named_without_the_password() -> None:
    broker = IggyBroker("127.0.0.1:1", username="root", password=SECRET, stream="shop")
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1") as caught:
        await broker.ensure([])
    assert SECRET not in repr(caught.value)
    await broker.close()


@pytest.mark.parametrize("name", ["", "7", "x" * 256])
def test_a_stream_s_name_that_iggy_would_misread_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="stream"):
        IggyBroker("localhost:8090", username="root", password=SECRET, stream=name)


def test_a_deadline_has_to_be_above_zero() -> None:
    with pytest.raises(SettingsError, match="call_timeout_s"):
        IggyBroker("localhost:8090", username="root", password=SECRET, stream="shop", call_timeout_s=0)
