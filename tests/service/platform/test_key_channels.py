"""A key that is limited to channels: what it publishes, sees and changes, and that all else is not
there for it."""

from collections.abc import Iterator
from typing import Any, LiteralString, NamedTuple

import httpx2
import pytest

from service.web.authorization import Caller
from service.web.keys import SCOPES
from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, Json, Platform
from tests.service.meanwhile import meanwhile


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


@pytest.fixture
def limited(platform: Platform) -> Limited:
    prefix = platform.name("mine")
    return Limited(
        platform,
        prefix,
        platform.key(*SCOPES, channels=[f"{prefix}.*"]),
        platform.subscription(channelId=f"{prefix}.orders"),
        platform.subscription(),
    )


def path(subscription: Json, step: str = "") -> str:
    return f"{SUBSCRIPTIONS}/{subscription['id']}{step}"


def message(channel: str, **fields: object) -> Json:
    return {"channelId": channel, "type": "t", "payload": 1, **fields}


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


@pytest.mark.parametrize(("method", "step", "body"), STEPS)
def test_what_reads_no_more_is_the_keys_to_change(
    limited: Limited, method: str, step: str, body: object
) -> None:
    answer = limited.send(method, path(limited.mine, step), body)
    assert answer.status_code < 300, answer.text


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
            insert into outbox.attempt
                (subscription_id, message_id, idempotency_key, number, duration_seconds, relay)
            values (%s, %s, 'key', 1, 0.25, 'relay')
            """,
            [number, 5_000_000],
        )
    yield limited
    limited.platform.database.execute("delete from outbox.delivery")


def ids(items: list[Json]) -> set[str]:
    """Of which subscriptions they are."""
    return {item["subscriptionId" if "subscriptionId" in item else "id"] for item in items}


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


def test_the_attempts_of_a_subscription_that_is_gone_are_nobodys(lived: Limited) -> None:
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


def test_a_letter_of_another_channel_is_not_there(limited: Limited) -> None:
    """Its subscription read that channel before it was moved to one of the key's."""
    platform = limited.platform
    letter = platform.dead_letter(limited.mine["id"], channel="secrets", payload='"secret"')
    answer = limited.send("GET", f"{DEAD_LETTERS}/{letter}")
    assert answer.status_code == 404
    assert limited.items(DEAD_LETTERS) == []
    redrive = f"{DEAD_LETTERS}/redrive"
    refused = limited.send("POST", redrive, {"ids": [letter]})
    assert (refused.status_code, refused.json()["field"]) == (422, "ids")
    all_of_them = {"subscriptionId": limited.mine["id"]}
    assert limited.send("POST", redrive, all_of_them).json()["redriven"] == 0
    assert platform.ask("POST", redrive, all_of_them)["redriven"] == 1


def test_a_letter_of_a_test_message_is(limited: Limited) -> None:
    letter = limited.platform.dead_letter(limited.mine["id"], channel="outbox.test")
    assert limited.send("GET", f"{DEAD_LETTERS}/{letter}").status_code == 200
    redriven = limited.send("POST", f"{DEAD_LETTERS}/redrive", {"ids": [letter]})
    assert redriven.json() == {"redriven": 1, "more": False}


@pytest.mark.parametrize("by", ["ids", "subscriptionId"])
def test_letters_of_others_are_neither_shown_nor_redriven(limited: Limited, by: str) -> None:
    mine, other = (
        limited.platform.dead_letter(each["id"]) for each in (limited.mine, limited.other)
    )
    assert limited.send("GET", f"{DEAD_LETTERS}/{mine}").status_code == 200
    assert limited.send("GET", f"{DEAD_LETTERS}/{other}").status_code == 404
    body = {"ids": [mine, other]} if by == "ids" else {"subscriptionId": limited.other["id"]}
    refused = limited.send("POST", f"{DEAD_LETTERS}/redrive", body)
    assert (refused.status_code, refused.json()["field"]) == (422, by)
    unknown = {"ids": ["999999999"]} if by == "ids" else {"subscriptionId": "999999999"}
    same = limited.send("POST", f"{DEAD_LETTERS}/redrive", unknown).json()["detail"]
    number = other if by == "ids" else limited.other["id"]
    assert refused.json()["detail"] == same.replace("999999999", number)
    states = limited.platform.walk(f"{DEAD_LETTERS}?", 200)
    assert {item["state"] for item in states if item["id"] in (mine, other)} == {"dead"}


def published(platform: Platform, channel: str) -> str:
    """The id of a new message there."""
    made: str = platform.ask("POST", "/v1/messages", message(channel), 201)["id"]
    return made


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_message_of_others_is_no_more_there_than_one_that_never_was(
    limited: Limited, dry_run: bool
) -> None:
    platform = limited.platform
    others = [
        published(platform, limited.other["channelId"]),
        platform.ask("POST", path(limited.other, "/test"), status=202)["messageId"],
    ]
    mine = published(platform, limited.mine["channelId"])

    def asked(message_id: str) -> tuple[int, str]:
        body = {"fromMessageId": message_id, "dryRun": dry_run}
        answer = limited.send("POST", path(limited.mine, "/replay"), body)
        return answer.status_code, answer.text

    status, never = asked("999999999")
    assert status == 422
    for other in others:
        assert asked(other) == (422, never.replace("999999999", other))
    assert asked(mine)[0] == 200
    # A key without a limit goes on from any message.
    body = {"fromMessageId": others[0], "dryRun": True}
    assert platform.ask("POST", path(limited.mine, "/replay"), body)["messages"] == 1


@pytest.mark.parametrize("since", ["a time", "a message"])
def test_a_replay_counts_what_is_of_the_keys_channels_alone(limited: Limited, since: str) -> None:
    platform = limited.platform
    first = published(platform, limited.mine["channelId"])
    for _ in range(3):
        published(platform, limited.other["channelId"])
    published(platform, limited.mine["channelId"])
    since_then = (
        {"fromMessageId": first} if since == "a message" else {"from": "2020-01-01T00:00:00Z"}
    )
    answer = limited.send("POST", path(limited.mine, "/replay"), {**since_then, "dryRun": True})
    assert answer.json()["messages"] == 2


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_replay_counts_nothing_of_a_channel_that_its_subscription_is_moved_to_meanwhile(
    limited: Limited, dry_run: bool
) -> None:
    platform = limited.platform
    published(platform, limited.other["channelId"])
    move: LiteralString = """
        update outbox.subscription set name = name || '-moved', channels = array[%(channel)s]
        where id = %(id)s
    """
    where = {"id": int(limited.mine["id"]), "channel": limited.other["channelId"]}
    before = state(limited)[0][3]
    with meanwhile(platform, move, where):
        body = {"from": "2020-01-01T00:00:00Z", "dryRun": dry_run}
        answer = limited.send("POST", path(limited.mine, "/replay"), body)
    assert (answer.status_code, "messages" in answer.json()) == (404, False)
    assert state(limited)[0][3] == before


def test_a_name_that_is_taken_is_refused_without_a_word_of_by_what(limited: Limited) -> None:
    form = {"channelId": f"{limited.prefix}.x", "endpoint": "https://receiver.example/"}
    refused = limited.send("POST", SUBSCRIPTIONS, {**form, "name": limited.other["name"]})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "Another subscription has this name."
    own = limited.send("POST", SUBSCRIPTIONS, {**form, "name": limited.mine["name"]})
    assert own.text == refused.text
