"""A key that is limited to channels: what it publishes and changes; the rest is not there."""

import pytest

from service.web.access.authorization import Caller
from tests.service.api import SUBSCRIPTIONS, Platform, path
from tests.service.platform.limited import Limited, ids, message, state


@pytest.mark.parametrize(
    ("patterns", "channel", "allowed"),
    [
        (["orders"], "orders", True),
        (["orders"], "orders.x", False),
        (["orders"], "Orders", False),
        (["a.b"], "axb", False),
        (["a-b_c.d"], "a-b_c.d", True),
        (["orders.*"], "orders.paid", True),
        (["orders.*"], "orders.", True),
        (["orders.*"], "orders", False),
        (["orders.*"], "ordersXpaid", False),
        (["orders.*"], "my.orders.paid", False),
        (["orders*"], "orders", True),
        (["x", "orders.*"], "orders.a", True),
        (["x", "orders.*"], "y", False),
        # Those of the platform are meant by those who say so alone.
        (["o*"], "outbox.events", False),
        (["outbox*"], "outbox.events", False),
        (["outbox*"], "outbox", True),
        (["outbox*"], "outboxes", True),
        (["outbox.*"], "outbox.events", True),
        (["outbox.e*"], "outbox.events", True),
        (["outbox.events"], "outbox.events", True),
        (["outbox.events"], "outbox.live", False),
    ],
)
def test_a_pattern_means_the_same_to_the_service_and_to_the_database(
    platform: Platform, patterns: list[str], channel: str, allowed: bool
) -> None:
    caller = Caller(1, "n", ["read"], patterns)
    assert caller.may_use(channel) is allowed
    assert caller.may_see([channel]) is allowed
    row = platform.database.execute(
        "select outbox.channel_allowed(%s, %s)", [channel, patterns]
    ).fetchone()
    assert row == (allowed,)


def test_a_key_without_limits_may_use_and_see_everything() -> None:
    caller = Caller(1, "n", ["read"], None)
    assert caller.may_use("outbox.events")
    assert caller.may_see(None)
    assert caller.may_see([])


def test_a_limited_key_sees_no_subscription_that_reads_more() -> None:
    caller = Caller(1, "n", ["read"], ["a.*"])
    assert caller.may_see(["a.b", "a.c"])
    for channels in (["a.b", "b"], ["b"], [], None):
        assert not caller.may_see(channels)


def test_it_publishes_to_its_channels_alone(limited: Limited) -> None:
    mine, other = f"{limited.prefix}.x", limited.platform.name("c")
    assert limited.send("POST", "/v1/messages", message(mine)).status_code == 201
    for channel in (other, limited.prefix, limited.prefix.upper() + ".x"):
        refused = limited.send("POST", "/v1/messages", message(channel))
        assert (refused.status_code, refused.json()["field"]) == (403, "channelId")
        assert f"{limited.prefix}.*" in refused.json()["detail"]
        assert limited.platform.messages(channel) == []


def test_of_many_messages_none_is_published_where_one_is_beyond_the_key(limited: Limited) -> None:
    mine = f"{limited.prefix}.x"
    body = [message(mine), message(mine), message(limited.platform.name("c")), message(mine)]
    refused = limited.send("POST", "/v1/messages/transactional", body)
    assert (refused.status_code, refused.json()["field"]) == (403, "[2].channelId")
    assert limited.platform.messages(mine) == []


def test_a_repeat_is_refused_once_the_key_is_limited(platform: Platform) -> None:
    """And gets no answer of the request that was allowed."""
    channel = platform.name("c")
    headers = {**platform.key("publish", channels=[channel]), "Idempotency-Key": "k"}
    first = platform.send("POST", "/v1/messages", message(channel), headers)
    assert first.status_code == 201
    assert platform.send("POST", "/v1/messages", message(channel), headers).text == first.text
    platform.database.execute(
        """
        update outbox.api_key set channels = '{elsewhere}'
        where id = (select max(id) from outbox.api_key)
        """
    )
    repeat = platform.send("POST", "/v1/messages", message(channel), headers)
    assert repeat.status_code == 403
    assert "id" not in repeat.json()


def test_it_subscribes_to_its_channels_alone(limited: Limited) -> None:
    form = {"name": limited.platform.name(), "endpoint": "https://receiver.example/"}
    for channel in (limited.platform.name("c"), "outbox.events", "outbox.live"):
        refused = limited.send("POST", SUBSCRIPTIONS, {**form, "channelId": channel})
        assert (refused.status_code, refused.json()["field"]) == (403, "channelId")
    made = limited.send("POST", SUBSCRIPTIONS, {**form, "channelId": f"{limited.prefix}.new"})
    assert made.status_code == 201
    assert limited.send("GET", path(made.json())).status_code == 200


def test_it_moves_no_subscription_beyond_its_channels(limited: Limited) -> None:
    beyond = {"channelId": limited.other["channelId"]}
    refused = limited.send("PATCH", path(limited.mine), beyond)
    assert (refused.status_code, refused.json()["field"]) == (403, "channelId")
    within = {"channelId": f"{limited.prefix}.elsewhere"}
    assert limited.send("PATCH", path(limited.mine), within).status_code == 200
    # Nor one of others to where it may.
    assert limited.send("PATCH", path(limited.other), within).status_code == 404
    read = limited.platform.ask("GET", path(limited.other))
    assert read["channelId"] == limited.other["channelId"]


STEPS: list[tuple[str, str, object]] = [
    ("GET", "", None),
    ("PATCH", "", {"concurrency": 3}),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("POST", "/rotate-secret", None),
    ("POST", "/replay", {"from": "2020-01-01T00:00:00Z"}),
    ("POST", "/retry", None),
    ("POST", "/test", None),
    ("DELETE", "?discardUndelivered=true", None),
]


@pytest.mark.parametrize(("method", "step", "body"), STEPS)
def test_what_reads_more_than_the_key_may_is_not_there(
    limited: Limited, method: str, step: str, body: object
) -> None:
    mine = limited.mine["channelId"]
    for channels in ([], None, [mine, "another"], ["another"], [mine, "outbox.events"]):
        limited.platform.database.execute(
            "update outbox.subscription set channels = %s where id = %s",
            [channels, int(limited.mine["id"])],
        )
        before = state(limited)
        answer = limited.send(method, path(limited.mine, step), body)
        assert answer.status_code == 404, (channels, answer.text)
        assert answer.json()["detail"] == "The subscription does not exist."
        assert state(limited) == before


@pytest.mark.parametrize(("method", "step", "body"), STEPS)
def test_what_reads_no_more_is_the_keys_to_change(
    limited: Limited, method: str, step: str, body: object
) -> None:
    answer = limited.send(method, path(limited.mine, step), body)
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize("former", [["secrets"], None, ["secrets", "outbox.events"]])
def test_what_a_subscription_has_read_before_is_not_there_for_a_key_of_its_new_channel(
    limited: Limited, former: list[str] | None
) -> None:
    """Its attempts, rows and counts are of the former one still, and so is what a DELETE loses."""
    platform = limited.platform
    moved = platform.subscription(channelId=f"{limited.prefix}.before")
    assert limited.send("GET", path(moved)).status_code == 200
    for channels in (former, [f"{limited.prefix}.new"], [f"{limited.prefix}.newer"]):
        platform.database.execute(
            "update outbox.subscription set channels = %s where id = %s",
            [channels, int(moved["id"])],
        )
    for method, where in (
        ("GET", path(moved)),
        ("PATCH", path(moved)),
        ("DELETE", f"{path(moved)}?discardUndelivered=true"),
        ("POST", f"{path(moved)}/pause"),
    ):
        body: dict[str, str] | None = {} if method == "PATCH" else None
        assert limited.send(method, where, body).status_code == 404
    for where in (SUBSCRIPTIONS, "/v1/attempts", "/v1/deliveries", "/v1/stats"):
        assert moved["id"] not in ids(limited.items(where))
    assert platform.ask("GET", path(moved))["channelId"] == f"{limited.prefix}.newer"


def test_a_subscription_that_stayed_within_the_keys_channels_is_there(limited: Limited) -> None:
    for channel in (f"{limited.prefix}.one", f"{limited.prefix}.two"):
        changed = limited.send("PATCH", path(limited.mine), {"channelId": channel})
        assert changed.status_code == 200
    assert limited.send("GET", path(limited.mine)).json()["channelId"] == channel


def test_what_has_read_more_channels_than_are_remembered_is_there_for_unlimited_keys_alone(
    limited: Limited,
) -> None:
    for number in range(101):
        limited.platform.database.execute(
            "update outbox.subscription set channels = array[%s] where id = %s",
            [f"{limited.prefix}.{number}", int(limited.mine["id"])],
        )
    assert limited.send("GET", path(limited.mine)).status_code == 404
    assert limited.platform.ask("GET", path(limited.mine))["channelId"] == f"{limited.prefix}.100"


def test_a_key_is_refused_the_channel_that_would_hide_its_subscription_from_it(
    limited: Limited,
) -> None:
    """It may still go back to one that is remembered."""
    for number in range(99):
        limited.platform.database.execute(
            "update outbox.subscription set channels = array[%s] where id = %s",
            [f"{limited.prefix}.{number}", int(limited.mine["id"])],
        )
    before = state(limited)
    refused = limited.send("PATCH", path(limited.mine), {"channelId": f"{limited.prefix}.one-more"})
    assert (refused.status_code, refused.json()["field"]) == (409, "channelId")
    assert "100 channels" in refused.json()["detail"]
    assert "make a new subscription" in refused.json()["detail"]
    assert state(limited) == before
    for channel in (f"{limited.prefix}.7", f"{limited.prefix}.orders"):
        changed = limited.send("PATCH", path(limited.mine), {"channelId": channel})
        assert (changed.status_code, changed.json().get("channelId")) == (200, channel)


def test_a_name_that_is_taken_is_refused_without_a_word_of_by_what(limited: Limited) -> None:
    form = {"channelId": f"{limited.prefix}.x", "endpoint": "https://receiver.example/"}
    refused = limited.send("POST", SUBSCRIPTIONS, {**form, "name": limited.other["name"]})
    assert refused.status_code == 409
    told = "Another subscription has this name, in this or another case."
    assert refused.json()["detail"] == told
    own = limited.send("POST", SUBSCRIPTIONS, {**form, "name": limited.mine["name"]})
    assert own.text == refused.text


def test_another_channel_is_refused_before_the_messages_are_unpacked(limited: Limited) -> None:
    """Unpacking them costs the service much, and its sender nothing."""
    body = [
        message(f"{limited.prefix}.a", headers={"x": 1}),
        message("another"),
    ]
    answer = limited.send("POST", "/v1/messages/transactional", body)
    assert (answer.status_code, answer.json()["field"]) == (403, "[1].channelId")
    answer = limited.send("POST", "/v1/messages", message("another", headers={"x": 1}))
    assert (answer.status_code, answer.json()["field"]) == (403, "channelId")
