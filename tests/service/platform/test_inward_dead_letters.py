"""/v1/inward-dead-letters: what came to inward connectors and could not enter."""

import pytest

from tests.service.api import Json, Platform

CONNECTORS = "/v1/connectors"
LETTERS = "/v1/inward-dead-letters"
INSERT = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, key, value, header_names, header_values,
         reason, detail)
    values (%s, 'shop.orders', 2, 17, '\\x00ff', %s, '{a,a,b}', array['1', '\\xff', null]::bytea[],
            'bad_event', 'it is none')
    returning id
"""


def connector(platform: Platform) -> Json:
    form = {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "kafka",
        "direction": "in",
        "config": {"topic": "shop.orders"},
    }
    made: Json = platform.ask("POST", CONNECTORS, form, 201)
    return made


def letter(platform: Platform, made: Json, value: bytes | None = b"v") -> str:
    row = platform.database.execute(INSERT, (int(made["id"]), value)).fetchone()
    assert row is not None
    return str(row[0])


def test_they_are_listed_and_shown_with_all_that_they_hold(platform: Platform) -> None:
    made = connector(platform)
    first, second = letter(platform, made), letter(platform, made, None)
    where = f"{LETTERS}?connectorId={made['id']}&limit=1"
    page = platform.ask("GET", where)
    assert [one["id"] for one in page["items"]] == [first]
    [other] = platform.ask("GET", f"{where}&cursor={page['nextCursor']}")["items"]
    assert other["id"] == second
    shown = platform.ask("GET", f"{LETTERS}/{first}")
    assert shown["keyBase64"] == "AP8="
    assert (shown["valueBase64"], shown["size"], shown["offset"]) == ("dg==", 1, "17")
    assert shown["headers"] == [
        {"name": "a", "value": "MQ=="},
        {"name": "a", "value": "/w=="},
        {"name": "b", "value": None},
    ]
    assert platform.ask("GET", f"{LETTERS}/{second}")["valueBase64"] is None
    assert platform.send("GET", f"{LETTERS}/999999999").status_code == 404


def test_they_are_asked_for_again_and_discarded(platform: Platform) -> None:
    made = connector(platform)
    first, second = letter(platform, made), letter(platform, made)
    assert platform.ask("POST", f"{LETTERS}/redrive", {"ids": [first]}) == {"due": 1}
    assert platform.ask("POST", f"{LETTERS}/redrive", {"ids": [first]}) == {"due": 0}
    assert platform.ask("GET", f"{LETTERS}/{first}")["due"]
    assert platform.ask("POST", f"{LETTERS}/redrive", {"connectorId": made["id"]}) == {"due": 1}
    assert platform.ask("POST", f"{LETTERS}/discard", {"ids": [second]}) == {"discarded": 1}
    assert platform.ask("POST", f"{LETTERS}/discard", {"connectorId": made["id"]}) == {
        "discarded": 1
    }
    assert platform.ask("GET", f"{LETTERS}?connectorId={made['id']}")["items"] == []


@pytest.mark.parametrize("step", ["redrive", "discard"])
@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "ids"), ({"ids": ["999999999"]}, "ids"), ({"connectorId": "999999999"}, "connectorId")],
)
def test_what_is_not_there_is_refused(
    platform: Platform, step: str, body: Json, field: str
) -> None:
    answer = platform.send("POST", f"{LETTERS}/{step}", body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_keys_that_may_not_operate_or_are_limited_touch_and_see_none(platform: Platform) -> None:
    made = connector(platform)
    one = letter(platform, made)
    reader = platform.key("read", "publish", "manage")
    for step in ("redrive", "discard"):
        assert platform.send("POST", f"{LETTERS}/{step}", {"ids": [one]}, reader).status_code == 403
    limited = platform.key("read", "operate", "publish", channels=[str(made["channelId"])])
    assert platform.send("GET", LETTERS, headers=limited).json()["items"] == []
    assert platform.send("GET", f"{LETTERS}/{one}", headers=limited).status_code == 404
    for step in ("redrive", "discard"):
        answer = platform.send("POST", f"{LETTERS}/{step}", {"ids": [one]}, limited)
        assert answer.status_code == 403


def test_who_may_not_publish_lets_nothing_come_in(platform: Platform) -> None:
    body = {
        "name": platform.name(),
        "channelId": platform.name("c"),
        "type": "kafka",
        "direction": "in",
        "config": {"topic": "shop.orders"},
    }
    refused = platform.send("POST", CONNECTORS, body, platform.key("operate", "read"))
    assert refused.status_code == 403
    assert "publish" in refused.json()["detail"]


def test_a_topic_is_begun_anew(platform: Platform) -> None:
    made = connector(platform)
    path = f"{CONNECTORS}/{made['id']}"
    platform.ask("POST", f"{path}/pause")
    begun = platform.ask("POST", f"{path}/seek", {"from": "latest"})
    assert (begun["config"]["from"], begun["paused"]) == ("latest", False)
    assert platform.send("POST", f"{path}/seek", {"from": "then"}).status_code == 422
    assert (
        platform.send("POST", f"{path}/seek", {"from": "2026-02-30T00:00:00Z"}).status_code == 422
    )


def test_a_queue_that_comes_in_is_shown(platform: Platform) -> None:
    config = (
        '{"queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo",'
        ' "unwrap": "sns"}'
    )
    row = platform.database.execute(
        "select outbox.connect_in(%s, 'c', 'sqs', %s::jsonb)", (platform.name(), config)
    ).fetchone()
    assert row is not None
    shown = platform.ask("GET", f"{CONNECTORS}/{row[0]}")
    assert (shown["type"], shown["direction"], shown["lag"]) == ("sqs", "in", 0)
    assert shown["config"]["unwrap"] == "sns"
    answer = platform.send("POST", f"{CONNECTORS}/{row[0]}/seek", {"from": "latest"})
    assert answer.status_code == 422
    platform.ask("DELETE", f"{CONNECTORS}/{row[0]}", status=204)
