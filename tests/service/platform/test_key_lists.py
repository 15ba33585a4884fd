"""A key that is limited to channels: what lists and filters show to it."""

from collections.abc import Iterator

import pytest

from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, path
from tests.service.platform.limited import Limited, ids

LISTS = [SUBSCRIPTIONS, "/v1/stats", "/v1/deliveries", "/v1/attempts", DEAD_LETTERS]


@pytest.fixture
def lived(limited: Limited) -> Iterator[Limited]:
    """Both subscriptions, and the one of kind kafka, have something in each list."""
    kafka = {"id": "1"}
    for subscription in (limited.mine, limited.other, kafka):
        number = int(subscription["id"])
        limited.platform.dead_letter(subscription["id"])
        limited.platform.database.execute(
            """
            insert into outbox.delivery (cursor_id, message_id, due_at, reason)
            select id, 1000000 + id, clock_timestamp(), 'http_500' from outbox.cursor
            where subscription_id = %s and priority = 3
            """,
            [number],
        )
        limited.platform.database.execute(
            """
            insert into outbox.attempt_log
                (subscription_id, message_id, idempotency_key, number, duration_seconds, relay)
            values (%s, %s, 'key', 1, 0.25, 'relay')
            """,
            [number, 5_000_000],
        )
    yield limited
    limited.platform.database.execute("delete from outbox.delivery")


@pytest.mark.parametrize("where", LISTS)
def test_a_list_shows_what_is_of_the_keys_channels(lived: Limited, where: str) -> None:
    assert ids(lived.items(f"{where}?limit=200")) == {lived.mine["id"]}
    everybodys = ids(lived.platform.walk(f"{where}?", 200))
    # Attempts are of endpoints alone: where no other test has made any, these two are all.
    assert {lived.mine["id"], lived.other["id"]} <= everybodys


@pytest.mark.parametrize("where", ["/v1/deliveries", "/v1/attempts", DEAD_LETTERS])
def test_a_filter_shows_nothing_of_what_is_not_there(lived: Limited, where: str) -> None:
    for other in (lived.other["id"], "1", "999999999"):
        assert lived.items(f"{where}?subscriptionId={other}") == []
    assert len(lived.items(f"{where}?subscriptionId={lived.mine['id']}")) == 1


def test_attempts_at_one_message_are_those_of_its_own_subscriptions(lived: Limited) -> None:
    where = "/v1/attempts?messageId=5000000"
    assert ids(lived.items(where)) == {lived.mine["id"]}
    assert lived.items(f"{where}&subscriptionId={lived.other['id']}") == []


def test_the_attempts_of_a_subscription_that_is_gone_are_shown_to_no_key(lived: Limited) -> None:
    gone = f"/v1/attempts?subscriptionId={lived.mine['id']}"
    assert len(lived.items(gone)) == 1
    lived.platform.ask("DELETE", path(lived.mine, "?discardUndelivered=true"), status=204)
    assert lived.items(gone) == []


@pytest.mark.parametrize("where", LISTS)
def test_pages_go_past_what_is_not_there(lived: Limited, where: str) -> None:
    """A page is full of what the key may see, and the last one says that it is."""
    second = lived.platform.subscription(channelId=f"{lived.prefix}.second")
    lived.platform.dead_letter(second["id"])
    if where in (SUBSCRIPTIONS, DEAD_LETTERS):
        first = lived.send("GET", f"{where}?limit=1").json()
        rest = lived.send("GET", f"{where}?limit=1&cursor={first['nextCursor']}").json()
        assert ids(first["items"] + rest["items"]) == {lived.mine["id"], second["id"]}
        assert "nextCursor" not in rest
    else:
        found = lived.send("GET", f"{where}?limit=2").json()
        assert "nextCursor" not in found
