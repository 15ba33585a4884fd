"""The pages of messages: found by id and key, and where one is."""

import pytest

from tests.service.api import Platform, path
from tests.service.console.visiting import Visitor
from tests.service.platform.limited import message

ADDRESS = "/console/messages"


@pytest.fixture
def reader(console: Platform) -> Visitor:
    return Visitor(console, console.key("read"))


def publish(platform: Platform, channel: str, key: str) -> str:
    form = message(channel, payload={"secret": 1}, idempotencyKey=key)
    return str(platform.ask("POST", "/v1/messages", form, 201)["id"])


def test_a_message_is_found_by_its_id_and_its_key(console: Platform, reader: Visitor) -> None:
    channel = console.name("c")
    key, twice = console.name("key"), console.name("key")
    id_ = publish(console, channel, key)
    ids = [publish(console, channel, twice) for _ in range(2)]
    for asked in (f"key={id_}", f"key={key}", f"key={key}+&channelId={channel}"):
        answer = reader.get(f"{ADDRESS}?{asked}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ADDRESS}/{id_}")
    shown = reader.see(f"{ADDRESS}?key={twice}")
    for one in ids:
        assert shown.links[f"Message {one}"] == f"{ADDRESS}/{one}"
    for nothing in ("nope", "é", "a b", "7.7"):
        assert "No such message was found" in reader.see(f"{ADDRESS}?key={nothing}").text


def test_a_key_of_some_channels_finds_messages_of_these(console: Platform) -> None:
    channel, key = console.name("c"), console.name("key")
    id_ = publish(console, channel, key)
    own = Visitor(console, console.key("read", channels=[channel]))
    answer = own.get(f"{ADDRESS}?key={key}&channelId={channel}")
    assert answer.headers["location"] == f"{ADDRESS}/{id_}"
    assert own.get(f"{ADDRESS}?key={key}").status_code == 422
    stranger = Visitor(console, console.key("read", channels=["elsewhere"]))
    assert stranger.get(f"{ADDRESS}?key={key}&channelId={channel}").status_code == 403
    assert stranger.get(f"{ADDRESS}/{id_}").status_code == 404


def test_the_page_tells_where_a_message_is_and_nothing_of_what_it_holds(
    console: Platform, reader: Visitor
) -> None:
    made = console.subscription()
    console.ask("POST", path(made, "/pause"))
    id_ = publish(console, made["channelId"], console.name("key"))
    late = console.subscription(channelId=made["channelId"])
    shown = reader.see(f"{ADDRESS}/{id_}")
    assert f"{made['name']} paused" in shown.text
    assert f"{late['name']} before its start" in shown.text
    assert "kafka waiting" in shown.text
    assert shown.links[made["name"]] == f"/console/subscriptions/{made['id']}"
    assert "secret" not in shown.text
    for nothing in ("999999999", "x", "1" * 30):
        reader.see(f"{ADDRESS}/{nothing}", 404)
