"""What a client is made of: the extra, a role, nothing of the environment's endpoints."""

import sys
import threading
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import pytest
from botocore.credentials import CredentialResolver

from relay.push.away import Away
from relay.push.policy.settings import Queue
from relay.push.sqs import client as module
from relay.push.sqs.client import Client
from tests.relay.operating import settings
from tests.relay.push.sqs.stage import KEY_ID, SECRET
from tests.relay.push.stage import PushStage

ROLE = "arn:aws:iam::123456789012:role/outbox"
ASSUMED = """
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>
"""
ATTRIBUTES = b'{"Attributes": {"FifoQueue": "true"}}'
ALLOWED = {
    "RELAY_ALLOW_HOSTS": "127.0.0.1/123456789012",
    "RELAY_ALLOW_ROLES": ROLE,
    "RELAY_CREDENTIALS_SHOP_USERNAME": KEY_ID,
    "RELAY_CREDENTIALS_SHOP_PASSWORD": SECRET,
}


def queue(port: int = 1, role_arn: str | None = None) -> Queue:
    url = f"http://127.0.0.1:{port}/123456789012/orders.fifo"
    return Queue(queue_url=url, region="eu-central-1", credentials="shop", role_arn=role_arn)


def test_without_the_extra_a_queue_is_refused_by_a_sentence_that_names_it(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(Away, match=r"install outbox-relay\[sqs\]"):
        Client(queue(), settings(stage.database_url, **ALLOWED))


class Answering(HTTPServer):
    """Answers AssumeRole and GetQueueAttributes, and notes the headers of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Listener)
        self.seen: list[Message] = []

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Listener(BaseHTTPRequestHandler):
    """One connection's requests."""

    server: Answering

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = ASSUMED.encode() if b"AssumeRole" in raw else ATTRIBUTES
        self.server.seen.append(self.headers)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The test's own words say more."""


def test_a_role_is_taken_on_by_the_credential_and_signs(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = module._create
    forget_identities(monkeypatch)
    with Answering() as server:

        def by_way_of_the_listener(session: object, service: str, **given: object) -> object:
            # STS has an address of its own, which no setting of ours changes.
            own = {"endpoint_url": f"http://127.0.0.1:{server.port}"}
            return make(session, service, **own | given)

        monkeypatch.setattr(module, "_create", by_way_of_the_listener)
        own = settings(stage.database_url, **ALLOWED)
        client = Client(queue(server.port, role_arn=ROLE), own)
        assert client.most_bytes() == 1_048_576
        client.close()
    by = [headers["authorization"] for headers in server.seen]
    assert [f"Credential={KEY_ID}/" in by[0], "Credential=ASIAROLE/" in by[1]] == [True, True]


def forget_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for the relay's own identity fails."""
    looked_for = partial(pytest.fail, "it was looked for")
    monkeypatch.setattr(CredentialResolver, "load_credentials", looked_for)


def test_with_a_credential_no_other_identity_is_looked_for(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No key, no profile and no file of the environment, and nothing of the cloud."""
    forget_identities(monkeypatch)
    (tmp_path / "config").write_text("[nothing of the kind")
    for variable, value in (
        ("AWS_ACCESS_KEY_ID", "AKIAOTHER"),
        ("AWS_SECRET_ACCESS_KEY", "another secret"),
        ("AWS_SESSION_TOKEN", "another token"),
        ("AWS_PROFILE", "gone"),
        ("AWS_CONFIG_FILE", str(tmp_path / "config")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "config")),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
    ):
        monkeypatch.setenv(variable, value)
    with Answering() as server:
        client = Client(queue(server.port), settings(stage.database_url, **ALLOWED))
        client.attributes()
        client.close()
    (headers,) = server.seen
    assert f"Credential={KEY_ID}/" in headers["authorization"]
    assert headers["x-amz-security-token"] is None


def test_a_session_token_goes_with_its_keys(stage: PushStage) -> None:
    token = {"RELAY_CREDENTIALS_SHOP_SESSION_TOKEN": "a token"}
    with Answering() as server:
        client = Client(queue(server.port), settings(stage.database_url, **ALLOWED, **token))
        client.attributes()
        client.close()
    (headers,) = server.seen
    assert f"Credential={KEY_ID}/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a token"


def test_an_endpoint_of_the_environment_changes_nothing(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9/")
    client = Client(queue(4711), settings(stage.database_url, **ALLOWED))
    client.close()
    assert client._boto.meta.endpoint_url == "http://127.0.0.1:4711"


def test_a_credential_goes_to_the_queues_that_its_own_hosts_name(stage: PushStage) -> None:
    bound = ALLOWED | {"RELAY_CREDENTIALS_SHOP_HOSTS": "127.0.0.1/123456789012/other"}
    with pytest.raises(Away, match="RELAY_CREDENTIALS_SHOP_HOSTS names no such queue"):
        Client(queue(), settings(stage.database_url, **bound))
