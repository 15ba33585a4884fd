"""Who may use the API: keys and their scopes."""

import pytest
from starlette.requests import Request

from service.platform.api import OPERATIONS
from service.web.access.keys import SCOPES
from service.web.bodies import body
from service.web.operations import operation as operations
from service.web.operations.operation import Operation
from tests.service.api import SUBSCRIPTIONS, Platform


def path(operation: Operation) -> str:
    return operation.path.replace("{id}", "999999999")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ok_unknown", "Basic b2s6b2s=", "ok_unknown", "Bearer \xe9"],
)
def test_without_a_valid_key_every_operation_is_401(
    platform: Platform, authorization: str | None
) -> None:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin1"))]
    for operation in OPERATIONS:
        answer = platform.http.request(operation.method, path(operation), headers=headers)
        assert answer.status_code == 401, operation
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_allows_and_nothing_else(
    platform: Platform, scope: str
) -> None:
    headers = platform.key(*(one for one in SCOPES if one == scope))
    for operation in OPERATIONS:
        answer = platform.http.request(operation.method, path(operation), headers=headers)
        if scope in operation.scopes:
            assert answer.status_code not in (401, 403), operation
        else:
            assert answer.status_code == 403, operation
            assert f"scope {operation.scopes[0]}" in answer.json()["detail"]


def test_a_revoked_key_is_refused_from_the_next_request_on(platform: Platform) -> None:
    headers = platform.key("read")
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 200
    platform.database.execute(
        """
        update outbox.api_key set revoked_at = now()
        where id = (select max(id) from outbox.api_key)
        """
    )
    assert platform.http.get(SUBSCRIPTIONS, headers=headers).status_code == 401


def test_a_key_that_is_revoked_while_a_long_body_comes_is_refused(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, headers = body.read, platform.key("publish")

    async def read_slowly(request: Request, max_bytes: int) -> bytes:
        raw = await read(request, max_bytes)
        platform.database.execute(
            "update outbox.api_key set revoked_at = now() "
            "where id = (select max(id) from outbox.api_key)"
        )
        return raw

    monkeypatch.setattr(operations, "LONG_BODY_SECONDS", 0.0)
    monkeypatch.setattr(body, "read", read_slowly)
    channel = platform.name()
    message = {"channelId": channel, "type": "order.paid", "payload": {}}
    answer = platform.send("POST", "/v1/messages", message, headers)
    assert answer.status_code == 401
    assert platform.messages(channel) == []


def test_a_method_that_a_path_does_not_have_is_405_and_names_those_it_has(
    platform: Platform,
) -> None:
    answer = platform.send("PUT", f"{SUBSCRIPTIONS}/1")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PATCH"}
    assert platform.send("HEAD", SUBSCRIPTIONS).status_code == 200


def test_a_path_with_a_slash_too_many_is_404_and_redirects_nowhere(platform: Platform) -> None:
    answer = platform.send("GET", f"{SUBSCRIPTIONS}/")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_no_key_is_stored(platform: Platform) -> None:
    secret = platform.key("read")["Authorization"].removeprefix("Bearer ")
    rows = platform.database.execute("select k::text from outbox.api_key as k").fetchall()
    assert secret.removeprefix("ok_") not in str(rows)


def test_no_answer_is_for_a_cache(platform: Platform) -> None:
    """Secrets are in some, payloads and endpoints in others; refusals are for their callers too."""
    made = platform.send(
        "POST",
        SUBSCRIPTIONS,
        {"name": platform.name(), "channelId": "c", "endpoint": "https://receiver.example/"},
    )
    rotated = platform.send("POST", f"{SUBSCRIPTIONS}/{made.json()['id']}/rotate-secret")
    for answer in (made, rotated):
        assert "whsec_" in answer.text
        assert answer.headers["cache-control"] == "no-store"
    assert made.headers["location"].startswith(SUBSCRIPTIONS)
    for operation in OPERATIONS:
        for headers in (platform.authorization, platform.key("publish"), {}):
            answer = platform.http.request(operation.method, path(operation), headers=headers)
            assert answer.headers["cache-control"] == "no-store", operation
    refused = platform.http.get(SUBSCRIPTIONS)
    assert refused.headers["www-authenticate"] == "Bearer"
