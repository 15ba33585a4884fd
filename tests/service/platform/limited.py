"""A key that is limited to channels."""

from typing import Any, NamedTuple

import httpx2

from tests.service.api import Json, Platform


class Limited(NamedTuple):
    """A key for `mine.*` of this test, with all scopes; and a subscription on either side."""

    platform: Platform
    prefix: str
    headers: dict[str, str]
    mine: Json
    other: Json

    def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        return self.platform.send(method, path, body, self.headers)

    def items(self, path: str) -> list[Json]:
        """What a list shows to the key."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["items"]
        return found


def message(channel: str, **fields: object) -> Json:
    return {"channelId": channel, "type": "t", "payload": 1, **fields}


def state(limited: Limited) -> list[Any]:
    """What a step could have changed."""
    return limited.platform.database.execute(
        """
        select s::text, (select count(*) from outbox.secret where subscription_id = s.id),
               (select count(*) from outbox.message),
               (select count(*) from outbox.checkpoint)
        from outbox.subscription as s where id = %s
        """,
        [int(limited.mine["id"])],
    ).fetchall()


def ids(items: list[Json]) -> set[str]:
    """Of which subscriptions they are."""
    return {item["subscriptionId" if "subscriptionId" in item else "id"] for item in items}
