"""A service of this version works on the schema of the next one, without a restart."""

from pathlib import Path

import psycopg
import pytest
from starlette.testclient import TestClient

from relay import migrations
from service.app import create_app
from service.platform import keys
from service.settings import Settings
from service.web.access.keys import SCOPES
from tests.upgrade import next_version

READ = [
    "/readyz",
    "/v1/subscriptions",
    "/v1/messages?idempotencyKey=order-7-paid",
    "/v1/dead-letters",
    "/v1/event-types",
    "/v1/connectors",
    "/v1/overview",
    "/v1/audit",
]


def use(client: TestClient, subscription: str) -> None:
    """Publishes, subscribes and reads."""
    message = {"channelId": "orders", "type": "order.paid", "groupKey": "7", "payload": {"id": 7}}
    published = client.post("/v1/messages", json=message)
    assert published.status_code == 201, published.text
    wanted = {"name": subscription, "channelId": "orders", "endpoint": "https://shop.example/in"}
    subscribed = client.post("/v1/subscriptions", json=wanted)
    assert subscribed.status_code == 201, subscribed.text
    id_ = published.json()["id"]
    for path in [*READ, f"/v1/messages/{id_}/trace"]:
        answer = client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.text}"


def test_a_service_goes_on_while_the_next_version_migrates(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "next"
    brought = next_version.bring(directory, compatible_from=migrations.known()[-1].version)
    with psycopg.connect(database_url, autocommit=True) as owner:
        headers = {"Authorization": f"Bearer {keys.create(owner, 'all', SCOPES)}"}
        app = create_app(Settings(database_url=database_url, pool_size=2))
        with TestClient(app, headers=headers) as client:
            use(client, "before")
            monkeypatch.setattr(migrations, "sql_directory", lambda: directory)
            assert len(list(migrations.migrate(owner, outbox_only=False))) == len(brought)
            assert migrations.grant_roles(owner)
            use(client, "after")
