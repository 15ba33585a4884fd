"""Publishing over HTTP: byte for byte, all or none, and once per Idempotency-Key."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.service.api import Platform

MESSAGES = "/v1/messages"
TRANSACTIONAL = "/v1/messages/transactional"


def message(channel: str, **fields: object) -> dict[str, Any]:
    return {"channelId": channel, "type": "order.paid", "payload": {"a": 1}, **fields}


def post(
    platform: Platform, body: str, path: str = MESSAGES, key: str | None = None
) -> tuple[int, Any]:
    headers = dict(platform.authorization)
    if key is not None:
        headers["Idempotency-Key"] = key
    answer = platform.http.post(path, content=body.encode(), headers=headers)
    return answer.status_code, answer.json()


def test_a_payload_is_carried_byte_for_byte(platform: Platform) -> None:
    channel = platform.name("c")
    payload = '{"z" :  1.10,"a":[1e2,"\\u00e9",null], "z": 2}'
    status, answer = post(platform, f'{{"channelId":"{channel}","type":"t","payload":{payload}}}')
    assert status == 201
    assert platform.messages(channel) == [(answer["id"], "t", None, payload)]


def test_a_message_carries_all_that_was_given(platform: Platform) -> None:
    channel = platform.name("c")
    platform.ask(
        "POST",
        MESSAGES,
        message(channel, groupKey="g", priority=1, idempotencyKey="k", headers={"x": "y"}),
        201,
    )
    row = platform.database.execute(
        """
        select group_key, priority, idempotency_key, headers, content_type
        from outbox.message where channel = %s
        """,
        [channel],
    ).fetchone()
    assert row == ("g", 1, "k", '{"x":"y"}', "application/json")


def test_messages_of_one_request_keep_their_order(platform: Platform) -> None:
    channel = platform.name("c")
    body = [message(channel, payload=index, groupKey="g") for index in range(100)]
    answers = platform.ask("POST", TRANSACTIONAL, body, 201)
    stored = platform.messages(channel)
    assert [int(payload) for *_, payload in stored] == list(range(100))
    assert [answer["id"] for answer in answers] == [row[0] for row in stored]


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"channelId": "outbox.events"}, "channelId"),
        ({"channelId": "a b"}, "channelId"),
        ({"channelId": "newline\n"}, "channelId"),
        ({"channelId": ".."}, "channelId"),
        ({"channelId": "c" * 201}, "channelId"),
        ({"type": ""}, "type"),
        ({"type": "tab\t"}, "type"),
        ({"groupKey": "é" * 513}, "groupKey"),
        ({"groupKey": "nul\0"}, "groupKey"),
        ({"priority": 6}, "priority"),
        ({"idempotencyKey": "a.b"}, "idempotencyKey"),
        ({"headers": {"Webhook-Id": "x"}}, "headers"),
        ({"headers": {"webhook_id": "x"}}, "headers"),
        ({"headers": {"transfer_encoding": "x"}}, "headers"),
        ({"headers": {"X-Forwarded-For": "x"}}, "headers"),
        ({"headers": {"x-a": "1", "X_A": "2"}}, "headers"),
        ({"headers": {"x": "y" * 16_384}}, "headers"),
        ({"headers": {f"x{number}": "" for number in range(101)}}, "headers"),
        ({"headers": {"a b": "x"}}, "headers"),
        ({"headers": {"x": "line\n"}}, "headers[...]"),
        ({"headers": {"x": 1}}, "headers[...]"),
        ({"payload": "x" * 983_040}, "payload"),
        ({"prioritty": 1}, "prioritty"),
    ],
)
def test_what_the_log_would_refuse_is_refused_by_the_name_of_its_field_and_nothing_is_written(
    platform: Platform, fields: dict[str, object], blamed: str
) -> None:
    channel = platform.name("c")
    good, bad = message(channel), {**message(channel), **fields}
    assert platform.field("POST", MESSAGES, bad) == blamed
    assert platform.field("POST", TRANSACTIONAL, [good, bad]) == f"[1].{blamed}"
    assert platform.messages(channel) == []


def test_a_header_that_is_refused_is_named(platform: Platform) -> None:
    body = [message(platform.name("c")), message(platform.name("c"), headers={"X_Real_IP": "x"})]
    answer = platform.send("POST", TRANSACTIONAL, body)
    assert answer.json()["detail"] == (
        '[1].headers does not fit: header "X_Real_IP": this name is not a message\'s own to set.'
    )


def test_one_to_a_hundred_messages_are_taken_at_once(platform: Platform) -> None:
    for count in (0, 101):
        body = [message(platform.name("c"))] * count
        assert platform.send("POST", TRANSACTIONAL, body).status_code == 422


def test_a_hundred_posts_with_one_key_are_one_event_and_a_hundred_equal_answers(
    platform: Platform,
) -> None:
    channel = platform.name("c")
    body = f'{{"channelId":"{channel}","type":"t","payload":1}}'
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(lambda _: post(platform, body, key="one-of-a-hundred"), range(100))
        )
    assert len(platform.messages(channel)) == 1
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 201


def test_a_key_is_bound_to_its_body_and_its_path(platform: Platform) -> None:
    channel = platform.name("c")
    body = f'{{"channelId":"{channel}","type":"t","payload":1}}'
    assert post(platform, body, key="bound")[0] == 201
    assert post(platform, body + " ", key="bound")[0] == 409
    assert post(platform, f"[{body}]", TRANSACTIONAL, key="bound")[0] == 409
    assert len(platform.messages(channel)) == 1


def test_a_key_belongs_to_the_api_key_that_sent_it(platform: Platform) -> None:
    body = message(platform.name("c"))
    first, second = (
        platform.send("POST", MESSAGES, body, {**platform.key("publish"), "Idempotency-Key": "k"})
        for _ in range(2)
    )
    assert first.json()["id"] != second.json()["id"]


def test_a_request_that_was_refused_does_not_use_up_its_key(platform: Platform) -> None:
    channel = platform.name("c")
    refused = f'{{"channelId":"{channel}","type":"","payload":1}}'
    assert post(platform, refused, key="again")[0] == 422
    assert post(platform, refused.replace('""', '"t"'), key="again")[0] == 201


def test_a_key_is_free_again_after_a_day_and_old_ones_are_trimmed(platform: Platform) -> None:
    channel = platform.name("c")
    body = f'{{"channelId":"{channel}","type":"t","payload":1}}'
    for key in ("old", "older"):
        assert post(platform, body, key=key)[0] == 201
    platform.database.execute(
        """
        update outbox.idempotent_request set created_at = created_at - interval '24 hours'
        where key in ('old', 'older')
        """
    )
    assert post(platform, body.replace('"payload":1', '"payload":2'), key="old")[0] == 201
    keys = platform.database.execute(
        "select key from outbox.idempotent_request where key in ('old', 'older')"
    ).fetchall()
    assert keys == [("old",)]
    assert len(platform.messages(channel)) == 3


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_a_key_that_is_none_is_refused(platform: Platform, key: str) -> None:
    status, problem = post(platform, '{"channelId":"c","type":"t","payload":1}', key=key)
    assert (status, problem["field"]) == (422, "Idempotency-Key")


def test_two_keys_for_one_request_are_refused(platform: Platform) -> None:
    channel = platform.name("c")
    answer = platform.http.post(
        MESSAGES,
        json=message(channel),
        headers=[*platform.authorization.items(), *[("Idempotency-Key", key) for key in "ab"]],
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
    assert platform.messages(channel) == []


NAMES_OF_101 = [f"h{number}" for number in range(101)]


@pytest.mark.parametrize(
    ("colon", "value"),
    [('":', "v"), ('"  :', "v"), ('"\n:', ""), ('":', 'a\\":\\"b')],
    ids=["plain", "spaced", "empty", "quoted"],
)
def test_more_than_100_headers_are_refused_however_they_are_written(
    platform: Platform, colon: str, value: str
) -> None:
    headers = ",".join(f'"{name}{colon}"{value}"' for name in NAMES_OF_101)
    body = f'{{"channelId":"c","type":"t","payload":1,"headers":{{{headers}}}}}'
    status, answer = post(platform, body)
    assert (status, answer["field"]) == (422, "headers")
    assert "length <= 100" in answer["detail"]
    status, answer = post(platform, f"[{body}]", TRANSACTIONAL)
    assert (status, answer["field"]) == (422, "[0].headers")


def test_what_looks_like_many_headers_within_one_is_one(platform: Platform) -> None:
    value = '":' * 200 + "\\" + '{"a":1}'
    platform.ask("POST", MESSAGES, message("c", headers={"x": value, "y": value}), 201)


def test_too_many_messages_are_told_before_what_is_wrong_with_one(platform: Platform) -> None:
    """They are counted before any is unpacked."""
    body = [{"channelId": "c"}] * 101
    answer = platform.send("POST", TRANSACTIONAL, body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == ("The body does not fit: Expected `array` of length <= 100.")
