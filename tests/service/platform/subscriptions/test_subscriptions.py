"""Subscriptions over HTTP: made, read, changed, listed."""

import psycopg
import pytest

from tests.service.api import SUBSCRIPTIONS, Platform, path

SECRET = "whsec_"


def test_the_secret_is_shown_when_it_is_made_and_never_again(platform: Platform) -> None:
    made = platform.subscription()
    assert made["secret"].startswith(SECRET)
    rotated = platform.ask("POST", path(made, "/rotate-secret"))["secret"]
    assert rotated.startswith(SECRET)
    assert rotated != made["secret"]
    platform.ask("PATCH", path(made), {"concurrency": 2})
    for where in (path(made), SUBSCRIPTIONS + "?limit=200", "/v1/stats?limit=200"):
        assert SECRET not in platform.send("GET", where).text


def test_the_service_cannot_read_what_requests_are_signed_with(platform: Platform) -> None:
    with platform.database.transaction(force_rollback=True):
        platform.database.execute("set local role outbox_service")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            platform.database.execute("select key from outbox.secret")


def test_a_refusal_speaks_in_words_and_not_in_regular_expressions(platform: Platform) -> None:
    form = {"channelId": "two words", "endpoint": "https://a.example", "name": "n"}
    detail = platform.send("POST", SUBSCRIPTIONS, form).json()["detail"]
    assert "letters, digits, dots, dashes and underscores" in detail
    assert "regex" not in detail
    # A pattern with a quote in it, and one of a query.
    message = {"channelId": "c", "type": "t", "payload": 1, "headers": {"a b": "x"}}
    detail = platform.send("POST", "/v1/messages", message).json()["detail"]
    assert "An HTTP token" in detail
    assert "regex" not in detail
    detail = platform.send("GET", f"{SUBSCRIPTIONS}?cursor=x").json()["detail"]
    assert "of the page before" in detail
    assert "regex" not in detail


def test_two_subscriptions_cannot_have_one_name(platform: Platform) -> None:
    name = platform.subscription()["name"]
    form = {"channelId": "c", "endpoint": "https://a.example", "name": name}
    answer = platform.send("POST", SUBSCRIPTIONS, form)
    assert (answer.status_code, answer.json()["field"]) == (409, "name")
    other = platform.subscription()
    assert platform.send("PATCH", path(other), {"name": name}).status_code == 409


def test_two_names_differ_by_more_than_case(platform: Platform) -> None:
    name = platform.subscription()["name"]
    form = {"channelId": "c", "endpoint": "https://a.example", "name": name.upper()}
    answer = platform.send("POST", SUBSCRIPTIONS, form)
    assert (answer.status_code, answer.json()["field"]) == (409, "name")


@pytest.mark.parametrize("name", ["-x", ".", "..", "_x", "12"])
def test_a_name_begins_with_a_letter_or_digit_and_is_no_number(
    platform: Platform, name: str
) -> None:
    made = platform.subscription()
    form = {"channelId": "c", "endpoint": "https://a.example", "name": name}
    assert platform.field("POST", SUBSCRIPTIONS, form) == "name"
    assert platform.field("PATCH", path(made), {"name": name}) == "name"


def test_a_field_that_is_not_known_is_told_with_those_of_its_object(platform: Platform) -> None:
    message = {"channelId": "c", "type": "t", "payload": 1, "colour": 1}
    for url, body in (("/v1/messages", message), ("/v1/messages/transactional", [message])):
        detail = platform.send("POST", url, body).json()["detail"]
        assert "known are channelId, groupKey, headers, idempotencyKey, payload" in detail
    detail = platform.send("GET", "/v1/deliveries?colour=1").json()["detail"]
    assert "known are " in detail


def test_the_pages_of_subscriptions_show_each_once(platform: Platform) -> None:
    made = [platform.subscription()["id"] for _ in range(5)]
    walked = [item["id"] for item in platform.walk(f"{SUBSCRIPTIONS}?", limit=2)]
    assert len(walked) == len(set(walked))
    assert set(made) <= set(walked)


def test_more_shards_than_the_database_has_room_for_are_refused(platform: Platform) -> None:
    form = {"channelId": "c", "endpoint": "https://receiver.example/hook", "shards": 64}
    used = platform.database.execute("select cursors from outbox.quota").fetchone()
    platform.database.execute("update outbox.quota set cursors = 100")
    try:
        answer = platform.send("POST", SUBSCRIPTIONS, {**form, "name": platform.name()})
    finally:
        platform.database.execute("update outbox.quota set cursors = %s", used)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (409, "shards")
    assert problem["detail"].startswith("shards = 64 takes 320 cursors, and of at most 100 there")
