"""/v1/connectors: channels whose messages go to other systems."""

from typing import Any

import pytest

from tests.service.api import DEAD_LETTERS, SUBSCRIPTIONS, Json, Platform

CONNECTORS = "/v1/connectors"
BROKERS = "b-1.example.com:9092,b-2.example.com:9092"


@pytest.fixture(autouse=True)
def room(platform: Platform) -> None:
    """For the connectors of all these tests, whose database is one."""
    platform.database.execute("update outbox.quota set connectors = 1000")


def form(platform: Platform, **given: object) -> Json:
    config: dict[str, Any] = {"brokers": BROKERS}
    return {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "kafka",
        "config": config,
        **given,
    }


def made(platform: Platform, **given: object) -> Json:
    answer: Json = platform.ask("POST", CONNECTORS, form(platform, **given), 201)
    return answer


def path(connector: Json, step: str = "") -> str:
    return f"{CONNECTORS}/{connector['id']}{step}"


def test_a_connector_is_shown_as_it_was_made(platform: Platform) -> None:
    config = {
        "brokers": BROKERS,
        "topic": "shop.orders",
        "delivery": "exactly_once",
        "security": "sasl_ssl",
        "saslMechanism": "SCRAM-SHA-512",
        "credentials": "warehouse",
    }
    asked = form(platform, config=config, types=["order.paid"], shards=2)
    created = platform.ask("POST", CONNECTORS, asked, 201)
    assert {name: created[name] for name in asked} == asked
    assert (created["paused"], created["waitingReason"]) == (False, None)
    assert platform.ask("GET", path(created)) == created
    assert created in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    # It is a subscription of its kind as well.
    assert platform.ask("GET", f"{SUBSCRIPTIONS}/{created['id']}")["kind"] == "kafka"


def test_what_is_left_out_has_its_default(platform: Platform) -> None:
    created = made(platform)
    assert created["config"] == {
        "brokers": BROKERS,
        "security": "plaintext",
        "delivery": "at_least_once",
    }
    assert (created["types"], created["shards"]) == (None, 1)


def test_what_is_no_connector_is_not_there(platform: Platform) -> None:
    endpoint = platform.subscription()
    for other in ("1", endpoint["id"]):
        for method, step, body in (
            ("GET", "", None),
            ("PATCH", "", {"types": None}),
            ("DELETE", "", None),
            ("POST", "/pause", None),
            ("POST", "/resume", None),
            ("POST", "/replay", {"from": "2020-01-01T00:00:00Z"}),
            ("POST", "/test", None),
        ):
            answer = platform.send(method, f"{CONNECTORS}/{other}{step}", body)
            assert answer.status_code == 404, answer.text
    listed = platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert not {"1", endpoint["id"]} & {one["id"] for one in listed}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"brokers": None}, "config.brokers"),
        ({"brokers": "b"}, "config.brokers"),
        ({"topic": "a b"}, "config.topic"),
        ({"topic": "outbox.cursors"}, "config.topic"),
        ({"topic": "__consumer_offsets"}, "config.topic"),
        ({"delivery": "maybe"}, "config.delivery"),
        ({"security": "SSL"}, "config.security"),
        ({"security": "sasl_ssl", "credentials": "a"}, "config.saslMechanism"),
        ({"saslMechanism": "PLAIN"}, "config.saslMechanism"),
        ({"credentials": "a"}, "config.credentials"),
        ({"security": "ssl", "credentials": "../a"}, "config.credentials"),
        ({"plugin.library.paths": "/x.so"}, "config.plugin.library.paths"),
        ({"password": "x"}, "config.password"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_its_field(
    platform: Platform, config: Json, field: str
) -> None:
    asked = form(platform, config={"brokers": BROKERS, **config})
    assert platform.field("POST", CONNECTORS, asked) == field
    assert platform.field("PATCH", path(made(platform)), {"config": config}) == field


def test_another_type_is_refused_by_its_field(platform: Platform) -> None:
    assert platform.field("POST", CONNECTORS, form(platform, type="carrier-pigeon")) == "type"
    without = form(platform)
    without["config"] = {}
    assert platform.field("POST", CONNECTORS, without) == "config.brokers"


def test_a_patch_changes_what_it_names(platform: Platform) -> None:
    created = made(platform, config={"brokers": BROKERS, "topic": "a"})
    change = {"config": {"brokers": "c:1", "topic": None, "delivery": "exactly_once"}}
    changed = platform.ask("PATCH", path(created), change)
    config = {"brokers": "c:1", "security": "plaintext", "delivery": "exactly_once"}
    assert changed == {**created, "config": config}
    renamed = platform.ask("PATCH", path(created), {"name": platform.name(), "types": ["t"]})
    assert (renamed["config"], renamed["types"]) == (config, ["t"])
    back = platform.ask("PATCH", path(created), {"config": {"delivery": None}, "types": None})
    assert (back["config"]["delivery"], back["types"]) == ("at_least_once", None)


def test_a_name_is_taken_once(platform: Platform) -> None:
    created = made(platform)
    again = platform.send("POST", CONNECTORS, form(platform, name=created["name"].upper()))
    assert (again.status_code, again.json()["field"]) == (409, "name")


def test_it_is_paused_resumed_replayed_and_deleted_as_a_subscription(platform: Platform) -> None:
    created = made(platform)
    message = {"channelId": created["channelId"], "type": "t", "payload": 1}
    first = platform.ask("POST", "/v1/messages", message, 201)
    paused = platform.ask("POST", path(created, "/pause"))
    assert paused["paused"]
    assert paused["pausedReason"].startswith("by the API key ")
    assert not platform.ask("POST", path(created, "/resume"))["paused"]
    dry = {"fromMessageId": first["id"], "dryRun": True}
    answer = platform.ask("POST", path(created, "/replay"), dry)
    assert answer == {"messages": 1, "dryRun": True}
    assert platform.send("DELETE", path(created)).status_code == 409
    platform.ask("DELETE", path(created, "?discardUndelivered=true"), status=204)
    assert platform.send("GET", path(created)).status_code == 404


def test_a_connector_needs_the_scope_operate(platform: Platform) -> None:
    manager, reader = platform.key("manage", "publish"), platform.key("read")
    assert platform.send("POST", CONNECTORS, form(platform), manager).status_code == 403
    created = made(platform)
    for method, step, body in (
        ("PATCH", "", {"types": None}),
        ("DELETE", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/test", None),
        ("POST", "/replay", {"from": "2020-01-01T00:00:00Z"}),
    ):
        assert platform.send(method, path(created, step), body, manager).status_code == 403
    assert platform.send("GET", path(created), None, reader).status_code == 200


WORDS = "relay a: db.internal:5432: Connection refused"


def test_the_relays_own_words_are_for_operators_alone(platform: Platform) -> None:
    """A limited key could find out by them what is behind an address."""
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    created = own(platform, prefix, key)
    operator, reader = platform.key("read", "operate"), platform.key("read")

    def reasons(words: str) -> list[str]:
        platform.database.execute("select outbox.note_waiting(%s, %s)", [created["id"], words])
        asked = [(path(created), one) for one in (operator, reader, key)]
        return [
            platform.send("GET", where, None, who).json()["waitingReason"] for where, who in asked
        ]

    told, *others = reasons(WORDS)
    assert told == WORDS
    assert len(set(others)) == 1
    assert "db.internal" not in others[0]
    # Whatever it is, and in lists as well.
    for words in (
        "relay b: 10.0.0.7:9092: 10.0.0.7 is not public: RELAY_ALLOW_HOSTS opens hosts",
        "relay b: db.internal:5432: no address was found for that name",
        "relay b: _TIMED_OUT: 3 of 3 brokers are down",
    ):
        assert reasons(words) == [words, *others]
    listed = platform.send("GET", CONNECTORS, None, key).json()["items"]
    assert [one["waitingReason"] for one in listed] == others[:1]
    beyond = reasons(
        "relay a: there are more connectors to other clusters than outbox.quota allows"
    )
    assert beyond[1:] == ["there are more connectors than the quota allows"] * 2


ABSENT = """
    insert into outbox.cursor
        (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
    select id, 0, 3, channels[1], clock_timestamp(), %s from outbox.subscription where id = %s
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "UNKNOWN_TOPIC_OR_PART: topic shop.orders does not exist, or may not be written to",
            "the topic is not there",
        ),
        (
            "TOPIC_AUTHORIZATION_FAILED: topic shop.orders may not be written to",
            "the topic denies it",
        ),
    ],
)
def test_what_is_wrong_with_its_topic_is_told_as_well(
    platform: Platform, words: str, told: str
) -> None:
    """Its cluster is reached then, and the subscription itself waits for nothing."""
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    created = own(platform, prefix, key)
    platform.database.execute(ABSENT, [words, created["id"]])
    shown = platform.ask("GET", path(created))
    assert (shown["waitingReason"], shown["waitingSince"] is None) == (words, False)
    assert shown in platform.ask("GET", f"{CONNECTORS}?limit=200")["items"]
    assert platform.send("GET", path(created), None, key).json()["waitingReason"] == told
    # What holds up all of it counts more.
    platform.database.execute("select outbox.note_waiting(%s, %s)", [created["id"], WORDS])
    assert platform.ask("GET", path(created))["waitingReason"] == WORDS


def test_a_limited_key_connects_its_channels_alone(platform: Platform) -> None:
    key = platform.key("operate", "read", channels=["mine.*"])
    asked = form(platform, channelId=platform.name("theirs"))
    refused = platform.send("POST", CONNECTORS, asked, key)
    assert (refused.status_code, refused.json()["field"]) == (403, "channelId")
    other = made(platform)
    for method, step in (("GET", ""), ("DELETE", ""), ("POST", "/pause")):
        assert platform.send(method, path(other, step), None, key).status_code == 404
    assert platform.send("PATCH", path(other), {"types": None}, key).status_code == 404
    own = platform.send("POST", CONNECTORS, form(platform, channelId="mine.orders"), key)
    assert own.status_code == 201, own.text
    listed = platform.send("GET", CONNECTORS, None, key).json()["items"]
    assert [one["id"] for one in listed] == [own.json()["id"]]


def limited(platform: Platform, prefix: str) -> dict[str, str]:
    return platform.key("operate", "read", channels=[f"{prefix}.*"])


def own(platform: Platform, prefix: str, key: dict[str, str]) -> Json:
    answer = platform.send("POST", CONNECTORS, form(platform, channelId=f"{prefix}.orders"), key)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


CREDENTIALS = {"security": "sasl_ssl", "saslMechanism": "PLAIN", "credentials": "a"}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"topic": "theirs.orders"}, "config.topic"),
        ({"topic": "orders"}, "config.topic"),
        (CREDENTIALS, "config.credentials"),
        ({"security": "ssl", "credentials": "a"}, "config.credentials"),
    ],
)
def test_a_limited_key_reaches_no_topic_of_others_and_no_credential(
    platform: Platform, config: Json, field: str
) -> None:
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    asked = form(platform, channelId=f"{prefix}.a", config={"brokers": BROKERS, **config})
    made_so = platform.send("POST", CONNECTORS, asked, key)
    changed = platform.send("PATCH", path(own(platform, prefix, key)), {"config": config}, key)
    for refused in (made_so, changed):
        assert (refused.status_code, refused.json()["field"]) == (403, field), refused.text


def test_a_limited_key_has_a_topic_below_its_channels(platform: Platform) -> None:
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    change = {"config": {"topic": f"{prefix}.parcels", "security": "ssl"}}
    changed = platform.send("PATCH", path(own(platform, prefix, key)), change, key)
    assert changed.status_code == 200, changed.text
    assert changed.json()["config"]["topic"] == f"{prefix}.parcels"


def test_a_limited_key_takes_no_credential_along_that_an_operator_gave(platform: Platform) -> None:
    """It could else lead the credential to brokers of its own."""
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    created = own(platform, prefix, key)
    platform.ask("PATCH", path(created), {"config": CREDENTIALS})
    refused = platform.send("PATCH", path(created), {"config": {"brokers": "c:1"}}, key)
    assert (refused.status_code, refused.json()["field"]) == (403, "config.credentials")


def steps(platform: Platform, connector: Json) -> list[tuple[str, str, object]]:
    """Every way to change or operate it."""
    replay = {"from": "2020-01-01T00:00:00Z"}
    as_subscription = f"{SUBSCRIPTIONS}/{connector['id']}"
    return [
        ("PATCH", path(connector), {"types": ["t"]}),
        ("DELETE", path(connector, "?discardUndelivered=true"), None),
        ("POST", path(connector, "/pause"), None),
        ("POST", path(connector, "/resume"), None),
        ("POST", path(connector, "/replay"), replay),
        ("POST", path(connector, "/test"), None),
        ("POST", f"{as_subscription}/pause", None),
        ("POST", f"{as_subscription}/resume", None),
        ("POST", f"{as_subscription}/replay", replay),
        ("POST", f"{DEAD_LETTERS}/redrive", {"subscriptionId": connector["id"]}),
        ("POST", f"{DEAD_LETTERS}/redrive", {"ids": [platform.dead_letter(connector["id"])]}),
    ]


def test_a_limited_key_operates_no_connector_that_it_did_not_make(platform: Platform) -> None:
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    others = own(platform, prefix, limited(platform, prefix))
    operators = made(platform, channelId=f"{prefix}.orders")
    for connector in (others, operators):
        shown = platform.ask("GET", path(connector))
        for method, where, body in steps(platform, connector):
            refused = platform.send(method, where, body, key)
            assert refused.status_code == 403, f"{method} {where}: {refused.text}"
            assert "its own name made" in refused.json()["detail"]
        # It may see it.
        counts = {**shown["counts"], "deadLetters": 1}
        assert platform.send("GET", path(connector), None, key).json()["counts"] == counts
        assert platform.ask("GET", path(connector)) == {**shown, "counts": counts}


def test_a_limited_key_operates_what_it_made(platform: Platform) -> None:
    prefix = platform.name("mine")
    key = limited(platform, prefix)
    created = own(platform, prefix, key)
    ending = []
    for method, where, body in steps(platform, created):
        if method == "DELETE":
            ending.append(where)
            continue
        done = platform.send(method, where, body, key)
        assert done.status_code in (200, 202), f"{method} {where}: {done.text}"
    assert [platform.send("DELETE", where, None, key).status_code for where in ending] == [204]


def test_a_connector_leads_out_unless_it_says_otherwise(platform: Platform) -> None:
    assert made(platform, direction="out")["direction"] == "out"
    assert made(platform)["direction"] == "out"
    assert platform.field("POST", CONNECTORS, form(platform, direction="sideways")) == "direction"


def test_a_test_message_is_for_this_connector_alone(platform: Platform) -> None:
    channel = platform.name("c")
    others = [made(platform, channelId=channel), platform.subscription(channelId=channel)]
    created = made(platform, channelId=channel, config={"brokers": BROKERS, "topic": "t"})
    sent = platform.ask("POST", path(created, "/test"), status=202)
    assert platform.messages("outbox.test")[-1][:2] == (sent["messageId"], "outbox.test")
    takers = platform.database.execute(
        "select subscription_id::text from outbox.delivery"
        " join outbox.cursor on cursor.id = cursor_id where message_id = %s",
        [int(sent["messageId"])],
    ).fetchall()
    assert takers == [(created["id"],)]
    assert [platform.backlog(one) for one in others] == [0, 0]
    # It is no dead letter before it is refused over there.
    assert platform.ask("GET", path(created))["counts"]["deadLetters"] == 0


def test_connectors_beyond_a_keys_share_are_refused(platform: Platform) -> None:
    prefix = platform.name("mine")
    key = limited(platform, prefix)

    def ask() -> Any:
        return platform.send("POST", CONNECTORS, form(platform, channelId=f"{prefix}.orders"), key)

    created = [ask() for _ in range(5)]
    assert [answer.status_code for answer in created] == [201] * 5
    refused = ask()
    assert (refused.status_code, refused.json()["field"]) == (409, "config.brokers")
    assert "config.brokers names another cluster, and of at most 5" in refused.json()["detail"]
    assert platform.send("DELETE", path(created[2].json()), None, key).status_code == 204
    assert ask().status_code == 201
