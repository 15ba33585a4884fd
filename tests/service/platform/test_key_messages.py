"""A key that is limited to channels: messages and dead letters of others are not there for it."""

from typing import LiteralString

import pytest

from tests.service.api import DEAD_LETTERS, Platform, path
from tests.service.meanwhile import meanwhile
from tests.service.platform.limited import Limited, message, state


def test_a_dead_letter_of_another_channel_is_not_there(limited: Limited) -> None:
    """Its subscription read that channel before it was moved to one of the key's."""
    platform = limited.platform
    dead_letter = platform.dead_letter(limited.mine["id"], channel="secrets", payload='"secret"')
    answer = limited.send("GET", f"{DEAD_LETTERS}/{dead_letter}")
    assert answer.status_code == 404
    assert limited.items(DEAD_LETTERS) == []
    redrive = f"{DEAD_LETTERS}/redrive"
    refused = limited.send("POST", redrive, {"ids": [dead_letter]})
    assert (refused.status_code, refused.json()["field"]) == (422, "ids")
    all_of_them = {"subscriptionId": limited.mine["id"]}
    assert limited.send("POST", redrive, all_of_them).json()["redriven"] == 0
    assert platform.ask("POST", redrive, all_of_them)["redriven"] == 1


def test_a_dead_letter_of_a_test_message_is(limited: Limited) -> None:
    dead_letter = limited.platform.dead_letter(limited.mine["id"], channel="outbox.test")
    assert limited.send("GET", f"{DEAD_LETTERS}/{dead_letter}").status_code == 200
    redriven = limited.send("POST", f"{DEAD_LETTERS}/redrive", {"ids": [dead_letter]})
    assert redriven.json() == {"redriven": 1, "more": False}


@pytest.mark.parametrize("by", ["ids", "subscriptionId"])
def test_dead_letters_of_others_are_neither_shown_nor_redriven(limited: Limited, by: str) -> None:
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
