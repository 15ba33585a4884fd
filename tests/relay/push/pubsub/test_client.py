"""What a client is made of: the extra, TLS and who sends; and when its channel closes."""

import base64
import json
import sys
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from local.pubsub import PROJECT
from relay.push.away import Away
from relay.push.policy.settings import Topic
from relay.push.pubsub.client import Client
from tests.eventually import eventually
from tests.relay.operating import settings
from tests.relay.push.http.endpoint import endpoint
from tests.relay.push.http.test_proxy import Tunnels
from tests.relay.push.pubsub.stage import TopicStage
from tests.relay.push.stage import PushRelay

ACCOUNT = "relay@local-project.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account(key: rsa.RSAPrivateKey) -> str:
    """Its JSON, whose token endpoint nobody answers at."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem.decode(),
            "client_email": ACCOUNT,
            "token_uri": "https://127.0.0.1:1/token",
        }
    )


def secure(topics: TopicStage) -> str:
    return f"https://localhost:{topics.server.tls_port}"


def environment(authority: trustme.CA, key: rsa.RSAPrivateKey) -> dict[str, str]:
    return {
        "RELAY_ALLOW_HOSTS": f"localhost/projects/{PROJECT}",
        "RELAY_CREDENTIALS_SHOP_SERVICE_ACCOUNT": service_account(key),
        "RELAY_CREDENTIALS_SHOP_CA": authority.cert_pem.bytes().decode(),
    }


def test_without_the_extra_a_topic_is_refused_by_a_sentence_that_names_it(
    topics: TopicStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.pubsub_v1", None)
    own = settings(topics.database_url, **topics.environment)
    topic = Topic(project=PROJECT, topic="orders", endpoint=topics.server.endpoint)
    with pytest.raises(Away, match=r"install outbox-relay\[pubsub\]"):
        Client(topic, own)


def test_requests_carry_a_token_that_the_service_account_signed(
    topics: TopicStage, authority: trustme.CA, key: rsa.RSAPrivateKey
) -> None:
    topics.server.plan(authorized=True)
    topics.connect(endpoint=secure(topics), credentials="shop")
    topics.stage.publish("a:1")
    with PushRelay(topics.database_url, **environment(authority, key)) as relay:
        relay.drain()
    assert topics.keys() == ["a:1"]
    (seen,) = topics.server.seen()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    token = seen["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, certs=public)
    assert (claims["iss"], claims["scope"]) == (
        ACCOUNT,
        "https://www.googleapis.com/auth/pubsub",
    )


def test_a_credential_may_be_a_file(
    topics: TopicStage, authority: trustme.CA, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "service_account").write_text(service_account(key))
    (tmp_path / "shop" / "ca").write_bytes(authority.cert_pem.bytes())
    topics.server.plan(authorized=True)
    topics.connect(endpoint=secure(topics), credentials="shop")
    topics.stage.publish("a:1")
    allowed = f"localhost/projects/{PROJECT}"
    with PushRelay(
        topics.database_url,
        RELAY_ALLOW_HOSTS=allowed,
        RELAY_CREDENTIALS_DIRECTORY=str(tmp_path),
    ) as relay:
        relay.drain()
    assert topics.keys() == ["a:1"]


def test_a_server_with_a_certificate_of_somebody_else_gets_nothing(
    topics: TopicStage, key: rsa.RSAPrivateKey
) -> None:
    topics.connect(endpoint=secure(topics), credentials="shop")
    topics.stage.publish("a:1")
    with PushRelay(topics.database_url, **environment(trustme.CA(), key)) as relay:
        relay.round()
        relay.round()
    assert "UNAVAILABLE" in (topics.waiting_reason() or "")
    assert topics.server.seen() == []


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "service_account"}', '{"a": "secret-word"}'])
def test_a_service_account_that_is_none_is_not_quoted(topics: TopicStage, text: str) -> None:
    own = settings(
        topics.database_url,
        RELAY_ALLOW_HOSTS=f"localhost/projects/{PROJECT}",
        RELAY_CREDENTIALS_SHOP_SERVICE_ACCOUNT=text,
    )
    topic = Topic(
        project=PROJECT, topic="orders", endpoint="https://localhost:1", credentials="shop"
    )
    with pytest.raises(Away) as refused:
        Client(topic, own)
    assert str(refused.value) == "credential shop: service_account is no JSON key of one"


def test_without_credentials_it_is_the_relays_own_identity_that_sends(
    topics: TopicStage,
    key: rsa.RSAPrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "own.json"
    file.write_text(service_account(key))
    own = settings(topics.database_url, RELAY_ALLOW_HOSTS=f"localhost/projects/{PROJECT}")
    topic = Topic(project=PROJECT, topic="orders", endpoint=secure(topics))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    Client(topic, own).close()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(Away, match="this relay has none of its own"):
        Client(topic, own)


def test_a_credential_goes_to_the_topics_that_its_own_hosts_name(
    topics: TopicStage, key: rsa.RSAPrivateKey
) -> None:
    own = settings(
        topics.database_url,
        RELAY_ALLOW_HOSTS=f"localhost/projects/{PROJECT}",
        RELAY_CREDENTIALS_SHOP_SERVICE_ACCOUNT=service_account(key),
        RELAY_CREDENTIALS_SHOP_HOSTS=f"localhost/projects/{PROJECT}/topics/other",
    )
    topic = Topic(
        project=PROJECT, topic="orders", endpoint="https://localhost:1", credentials="shop"
    )
    with pytest.raises(Away, match="RELAY_CREDENTIALS_SHOP_HOSTS names no such topic"):
        Client(topic, own)


def test_requests_go_through_the_operators_proxy(
    topics: TopicStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And through none that the environment names."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    topics.connect()
    topics.stage.publish("a:1")
    tunnels = Tunnels()
    with endpoint(tunnels) as proxy:
        by_way = {"RELAY_PUSH_PROXY": f"http://user:word@127.0.0.1:{proxy.port}"}
        with PushRelay(topics.database_url, **topics.environment, **by_way) as relay:
            relay.drain()
    assert topics.keys() == ["a:1"]
    head = tunnels.asked[0]
    assert head.startswith(f"CONNECT 127.0.0.1:{topics.server.port} HTTP/1.")
    assert f"Basic {base64.b64encode(b'user:word').decode()}" in head
    topics.stage.publish("a:2")
    with PushRelay(topics.database_url, **topics.environment) as relay:
        relay.drain()
    assert topics.keys() == ["a:2"]


def test_the_channel_of_a_connector_that_is_changed_or_deleted_closes(
    topics: TopicStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Client] = []
    close = Client.close

    def closing(client: Client) -> None:
        closed.append(client)
        close(client)

    monkeypatch.setattr(Client, "close", closing)
    made = topics.connect()
    topics.stage.publish("a:1")
    relay.drain()
    topics.stage.settle("shop", timeout_seconds=3)
    topics.stage.publish("a:2")
    relay.drain()
    eventually(lambda: _are(closed, 1))
    topics.stage.publish("a:3")
    relay.drain()
    assert len(closed) == 1
    relay.request_loop.forget(made)
    eventually(lambda: _are(closed, 2))
    assert topics.keys() == ["a:1", "a:2", "a:3"]


def _are(closed: list[Client], number: int) -> None:
    assert len(closed) == number
