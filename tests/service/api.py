"""A caller of the event platform's HTTP API who can also look into its database."""

import itertools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx2
import psycopg

from service.platform import keys
from service.web.access.keys import SCOPES, Scope

Json = dict[str, Any]

SUBSCRIPTIONS = "/v1/subscriptions"
DEAD_LETTERS = "/v1/dead-letters"


def path(subscription: Json, step: str = "") -> str:
    """Where a subscription is, or a step of it."""
    return f"{SUBSCRIPTIONS}/{subscription['id']}{step}"


class Platform:
    """The API with a key of all scopes; every name and channel is the test's own."""

    # Of all callers together: several may look into one database.
    _numbers = itertools.count(1)

    def __init__(
        self, http: httpx2.Client, database: psycopg.Connection[Any], service_url: str
    ) -> None:
        self.http = http
        self.database = database
        self.service_url = service_url
        self.authorization = self.key(*SCOPES)

    def key(
        self,
        *scopes: Scope,
        channels: Sequence[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> dict[str, str]:
        """A new API key, as the header that carries it."""
        name = f"key {next(self._numbers)}"
        secret = keys.create(self.database, name, scopes, channels, expires)
        return {"Authorization": f"Bearer {secret}"}

    def name(self, prefix: str = "s") -> str:
        """A name that no other test on this database has."""
        return f"{prefix}-{next(self._numbers)}"

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """One request; `headers` over those with the key."""
        content = None if body is None else json.dumps(body)
        return self.http.request(
            method, path, content=content, headers={**self.authorization, **(headers or {})}
        )

    def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """The answer of a request that must be answered so."""
        answer = self.send(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def field(self, method: str, path: str, body: object) -> str:
        """The field that a refusal (422) blames."""
        answer = self.send(method, path, body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        return str(answer.json()["field"])

    def subscription(self, **fields: object) -> Json:
        """A new subscription to a channel of its own, unless said otherwise."""
        form = {
            "channelId": self.name("c"),
            "endpoint": "https://receiver.example/hook",
            "name": self.name(),
            **fields,
        }
        created: Json = self.ask("POST", SUBSCRIPTIONS, form, 201)
        return created

    def backlog(self, subscription: Json) -> int:
        """How many messages the log holds for it."""
        row = self.database.execute(
            "select sum(messages)::int from outbox.subscription_backlog where subscription = %s",
            [subscription["name"]],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def messages(self, channel: str) -> list[tuple[Any, ...]]:
        """(id, type, group key, payload) of a channel, by id."""
        return self.database.execute(
            """
            select id::text, type, group_key, convert_from(payload, 'UTF8')
            from outbox.message where channel = %s order by message.id
            """,
            [channel],
        ).fetchall()

    def dead_letter(self, subscription_id: str, **fields: object) -> str:
        """A dead letter of that subscription, of the first channel that it names; its id."""
        values = {
            "channel": None,
            "type": "paid",
            "payload": '{"a": 1}',
            "reason": "http_500",
            "detail": "detail",
            **fields,
        }
        row = self.database.execute(
            """
            insert into outbox.dead_letter
                (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
                 headers, content_type, payload, created_at, reason, detail, attempts)
            select subscription_id, cursor.id, nextval('dead_message'), 3,
                   coalesce(%(channel)s, channels[1], 'c'), %(type)s, 'key',
                   '{"x": "y"}', 'application/json', convert_to(%(payload)s, 'UTF8'),
                   clock_timestamp(), %(reason)s, %(detail)s, 9
            from outbox.cursor
            join outbox.subscription on subscription.id = subscription_id
            where subscription_id = %(subscription_id)s and priority = 3 and shard = 0
            returning id::text
            """,
            {**values, "subscription_id": int(subscription_id)},
        ).fetchone()
        assert row is not None
        return str(row[0])

    def walk(self, path: str, limit: int) -> list[Json]:
        """All items of a list, page by page."""
        found: list[Json] = []
        cursor = ""
        while True:
            page = self.ask("GET", f"{path}limit={limit}{cursor}")
            assert len(page["items"]) <= limit
            found += page["items"]
            if "nextCursor" not in page:
                return found
            cursor = f"&cursor={page['nextCursor']}"
