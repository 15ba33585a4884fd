"""A relay that shows Kafka tokens of an OpenID provider, as KAFKA_SASL_OAUTHBEARER_… say it."""

import time
from collections.abc import Callable, Iterator

import pytest

from local.kafka import Kafka
from local.server import free_port
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.relay.stage import PENDING, ExactlyOnceStage
from tests.token_endpoint import TokenEndpoint

pytestmark = pytest.mark.long

LOOPBACK = "127.0.0.1"
MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
LIFETIME_SECONDS = 5
# From the broker's return to the message's acknowledgement.
MAX_SECONDS = 5.0


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """It asks for a token at its second listener, and no token at the one of the test."""
    port, guarded, controller = free_port(), free_port(), free_port()
    doors = (
        f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller},"
        f"GUARDED://{LOOPBACK}:{guarded}"
    )
    settings = {
        "broker.session.timeout.ms": "4000",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        "listeners": doors,
        "advertised.listeners": doors,
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT"
        ),
        "listener.name.guarded.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.guarded.oauthbearer.sasl.jaas.config": (
            f'{MODULE} required unsecuredLoginStringClaim_sub="broker";'
        ),
    }
    directory = tmp_path_factory.mktemp("kafka") / "data"
    with Kafka.start(directory, port=port, settings=settings, quick_start=True) as broker:
        yield broker
        broker.kill()


@pytest.fixture
def provider() -> Iterator[TokenEndpoint]:
    with TokenEndpoint(LIFETIME_SECONDS) as provider:
        yield provider


@pytest.fixture
def stage(database_url: str, broker: Kafka, topic_prefix: str, spawn: Spawn) -> ExactlyOnceStage:
    return ExactlyOnceStage(database_url, broker.bootstrap_servers, topic_prefix, spawn)


def guarded(broker: Kafka, provider: TokenEndpoint) -> dict[str, str]:
    """How a relay gets in."""
    listeners = str(broker.settings["listeners"])
    return {
        "KAFKA_BOOTSTRAP_SERVERS": listeners.rpartition("//")[2],
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA_SASL_OAUTHBEARER_METHOD": "oidc",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "relay",
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "secret",
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": provider.url,
    }


@pytest.mark.parametrize(
    "delivery", [pytest.param("at_least_once", marks=pytest.mark.nightly), "exactly_once"]
)
def test_the_first_message_goes_after_a_restart_in_a_quiet_that_outlasts_the_token(
    stage: ExactlyOnceStage,
    broker: Kafka,
    provider: TokenEndpoint,
    delivery: str,
    record_property: Callable[[str, object], None],
) -> None:
    stage.deliver(delivery)
    stage.create_topic("orders")
    relay = stage.relay(**guarded(broker, provider))
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    shown_until = provider.expires_at

    def outlasted() -> None:
        assert time.time() > shown_until + LIFETIME_SECONDS

    eventually(outlasted, 60)
    broker.kill()
    broker.restart()
    stage.publish(10, "orders")
    back_at = time.monotonic()

    def gone() -> None:
        assert stage.query(PENDING) == []

    eventually(gone, 60)
    seconds = time.monotonic() - back_at
    record_property("seconds_from_the_broker_s_return", round(seconds, 1))
    stage.all_arrived_once("orders")
    assert '"call_does_not_return"' not in relay.output()
    assert seconds < MAX_SECONDS
