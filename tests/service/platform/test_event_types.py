"""The event catalogue over HTTP, and publishing what it knows."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from catalogue import registration
from service.web.access.keys import SCOPES
from tests.event_types import LINES, MANY, ORDER, many_lines
from tests.eventually import eventually
from tests.service.api import Json, Platform
from tests.service.platform.limited import Limited

EVENT_TYPES = "/v1/event-types"
MESSAGES = "/v1/messages"
TRANSACTIONAL = "/v1/messages/transactional"


def form(channel: str = "orders", **fields: object) -> Json:
    return {"channels": [channel], "schema": ORDER, **fields}


def path(type_: str, step: str = "") -> str:
    return f"{EVENT_TYPES}/{type_}{step}"


def register(platform: Platform, channel: str = "orders", **fields: object) -> str:
    """A new type."""
    type_ = platform.name("order.created")
    platform.ask("PUT", path(type_), form(channel, **fields), 201)
    return type_


def message(channel: str, type_: str, payload: object) -> Json:
    return {"channelId": channel, "type": type_, "payload": payload}


def wider(name: str) -> Json:
    return {**ORDER, "properties": {**ORDER["properties"], name: {"type": "string"}}}


def test_a_type_that_is_new_is_made_and_shown_as_it_is(platform: Platform) -> None:
    type_ = platform.name("order.created")
    example = {"orderId": "1"}
    given = form("orders", description="An order.\nMade.", owner="shop", example=example)
    made = platform.ask("PUT", path(type_), given, 201)
    assert made == platform.ask("GET", path(type_))
    assert (made["type"], made["channels"], made["version"]) == (type_, ["orders"], 1)
    assert (made["enforcement"], made["compatibility"]) == ("refuse", "full")
    assert (made["description"], made["owner"]) == ("An order.\nMade.", "shop")
    assert (made["schema"], made["example"]) == (ORDER, example)
    assert [one["version"] for one in made["versions"]] == [1]
    assert (made["faults"], made["latestFaults"]) == (0, [])


def test_what_is_left_out_of_a_change_is_the_default_again(platform: Platform) -> None:
    type_ = register(platform, owner="shop", example={"orderId": "1"}, enforcement="off")
    changed = platform.ask("PUT", path(type_), form())
    assert (changed["owner"], changed["example"], changed["enforcement"]) == ("", None, "refuse")


def test_a_type_is_deprecated_and_no_longer(platform: Platform) -> None:
    type_ = register(platform)
    assert platform.ask("GET", path(type_))["deprecation"] is None
    deprecation = {"date": "2027-03-01", "successor": f"{type_}.v2"}
    changed = platform.ask("PUT", path(type_), form(deprecation=deprecation))
    assert (changed["deprecation"], changed["version"]) == (deprecation, 1)
    assert platform.walk(f"{EVENT_TYPES}?", 200)[-1]["deprecation"] == deprecation
    day_alone = platform.ask("PUT", path(type_), form(deprecation={"date": "2027-03-01"}))
    assert day_alone["deprecation"] == {"date": "2027-03-01", "successor": None}
    assert platform.ask("PUT", path(type_), form())["deprecation"] is None
    itself = form(deprecation={"date": "2027-03-01", "successor": type_})
    assert platform.field("PUT", path(type_), itself) == "deprecation.successor"


def test_the_same_schema_is_no_new_version(platform: Platform) -> None:
    type_ = register(platform)
    again = platform.ask("PUT", path(type_), form(schema=dict(reversed(ORDER.items()))))
    assert again["version"] == 1
    assert json.dumps(again["schema"]) == json.dumps(ORDER)


def test_a_compatible_schema_is_the_next_version(platform: Platform) -> None:
    type_ = register(platform)
    changed = platform.ask("PUT", path(type_), form(schema=wider("note")))
    assert (changed["version"], changed["schema"]) == (2, wider("note"))
    key = next(iter(changed["versions"]))["madeBy"]
    assert [(one["version"], one["madeBy"]) for one in changed["versions"]] == [(1, key), (2, key)]
    assert platform.ask("GET", path(type_, "/versions/1")) == ORDER
    assert platform.ask("GET", path(type_, "/versions/2")) == wider("note")


def test_a_schema_is_shown_as_it_was_written(platform: Platform) -> None:
    type_ = platform.name("t")
    schema = '{"type" :"object", "properties":{"z":{"maximum":1.10},"a":{"minimum": 1e2}}}'
    body = f'{{"channels": ["orders"], "schema": {schema}}}'
    platform.http.put(path(type_), content=body, headers=platform.authorization)
    assert platform.send("GET", path(type_, "/versions/1")).text == schema


def test_an_incompatible_schema_is_refused_with_all_that_it_breaks(platform: Platform) -> None:
    type_ = register(platform)
    platform.ask("PUT", path(type_), form(schema=wider("note")))
    other = {**wider("note"), "required": []}
    answer = platform.send("PUT", path(type_), form(schema=other))
    assert answer.status_code == 409, answer.text
    new_type = f"An incompatible change is a new type: {type_}.v2."
    assert answer.json()["detail"].endswith(new_type)
    problem = answer.json()
    assert problem["field"] == "schema"
    assert {one["version"] for one in problem["breaks"]} == {2}
    for one in problem["breaks"]:
        assert one["pointer"].startswith("/")
        assert one["rule"]
        assert one["harms"]
        assert one["detail"]
    assert platform.ask("GET", path(type_))["version"] == 2
    platform.ask("PUT", path(type_), form(schema=other, compatibility="none"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schema": {"type": "nonsense"}}, "schema"),
        ({"schema": {"$dynamicRef": "#a"}}, "schema"),
        ({"example": {"orderId": 1}}, "example"),
        ({"channels": []}, "channels"),
        ({"channels": ["outbox.events"]}, "channels[0]"),
        ({"enforcement": "sometimes"}, "enforcement"),
        ({"compatibility": "maybe"}, "compatibility"),
        ({"owner": "a\nb"}, "owner"),
        ({"description": "\0"}, "description"),
        ({"title": "t"}, "title"),
        ({"deprecation": {"date": "soon"}}, "deprecation.date"),
        ({"deprecation": {"successor": "t"}}, "deprecation.date"),
        ({"deprecation": {"date": "2027-03-01", "successor": "a b"}}, "deprecation.successor"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_its_field(
    platform: Platform, fields: Json, field: str
) -> None:
    type_ = platform.name("t")
    assert platform.field("PUT", path(type_), form(**fields)) == field
    assert platform.send("GET", path(type_)).status_code == 404


def test_a_schema_that_is_none_is_refused_with_a_pointer(platform: Platform) -> None:
    answer = platform.send("PUT", path(platform.name("t")), form(schema={"type": "nonsense"}))
    [fault] = answer.json()["faults"]
    assert fault["pointer"].startswith("/schema")
    assert fault["detail"]


@pytest.mark.parametrize("type_", ["outbox.test", "a b", ".a", "a" * 201, "%2e%2e"])
def test_other_names_are_no_types(platform: Platform, type_: str) -> None:
    assert platform.send("PUT", path(type_), form()).status_code == 404


def test_what_does_not_fit_is_not_published_and_every_fault_is_told(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel)
    platform.ask("POST", MESSAGES, message(channel, type_, {"orderId": "1"}), 201)
    answer = platform.send(
        "POST", MESSAGES, message(channel, type_, {"orderId": 1, "total": "much"})
    )
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["field"] == "payload"
    faults = {(one["pointer"], one["keyword"]) for one in problem["faults"]}
    assert faults == {("/payload/orderId", "type"), ("/payload/total", "type")}
    assert f"version 1 of {type_}" in problem["detail"]
    assert len(platform.messages(channel)) == 1


def test_of_many_messages_none_is_published_where_one_does_not_fit(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel)
    bodies: list[Json] = [
        message(channel, type_, {"orderId": "1"}),
        message(channel, type_, {}),
        message(platform.name("c"), type_, {"orderId": "1"}),
        message(channel, "another", {}),
    ]
    answer = platform.send("POST", TRANSACTIONAL, bodies)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["field"] == "[1].payload"
    assert [(one["pointer"], one["keyword"]) for one in problem["faults"]] == [
        ("/1/payload/orderId", "required"),
        ("/2/channelId", "channel"),
    ]
    assert platform.messages(channel) == []

    def counted() -> None:
        series = f'service_unfit_messages_total{{type="{type_}"}} 2.0'
        assert series in platform.http.get("/metrics").text

    # Their text is made anew once a second.
    eventually(counted)


def test_at_most_twenty_faults_are_told(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel)
    bodies = [message(channel, type_, {"orderId": 1, "total": ""})] * 30
    answer = platform.send("POST", TRANSACTIONAL, bodies)
    assert len(answer.json()["faults"]) == 20


def test_a_refused_request_may_be_sent_again_with_its_key(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel)
    headers = {"Idempotency-Key": platform.name("k")}
    body = message(channel, type_, {})
    assert platform.send("POST", MESSAGES, body, headers).status_code == 422
    platform.ask("PUT", path(type_), form(channel, enforcement="off"))
    assert platform.send("POST", MESSAGES, body, headers).status_code == 201


@pytest.mark.parametrize("enforcement", ["off", "report"])
def test_what_is_not_enforced_is_published(platform: Platform, enforcement: str) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, enforcement=enforcement)
    sent = platform.ask("POST", MESSAGES, message(channel, type_, {}), 201)
    shown = platform.ask("GET", path(type_))
    if enforcement == "off":
        assert (shown["faults"], shown["latestFaults"]) == (0, [])
        return
    [fault] = shown["latestFaults"]
    assert (shown["faults"], fault["messageId"], fault["channelId"]) == (1, sent["id"], channel)
    assert (fault["pointer"], fault["keyword"], fault["version"]) == ("/orderId", "required", 1)


@pytest.mark.parametrize("enforcement", ["off", "refuse"])
def test_a_payload_is_validated_without_being_published(
    platform: Platform, enforcement: str
) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, enforcement=enforcement)
    fits = platform.ask("POST", path(type_, "/validate"), {"orderId": "1"})
    assert fits == {"version": 1, "fits": True, "faults": []}
    wrong = platform.ask("POST", path(type_, "/validate"), {"orderId": 1})
    assert wrong["fits"] is False
    assert [(one["pointer"], one["keyword"]) for one in wrong["faults"]] == [("/orderId", "type")]
    assert platform.messages(channel) == []


def test_versions_that_are_made_at_once_all_count(platform: Platform) -> None:
    type_ = register(platform)
    names = [f"p{n}" for n in range(8)]

    def change(name: str) -> int:
        # Each adds to what it finds, as people do.
        for _ in range(20):
            schema = platform.ask("GET", path(type_))["schema"]
            schema["properties"][name] = {"type": "string"}
            answer = platform.send("PUT", path(type_), form(schema=schema))
            if name in platform.ask("GET", path(type_))["schema"]["properties"]:
                return answer.status_code
        raise AssertionError(f"{name} was overwritten again and again")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(change, names)) <= {200, 409}
    versions = [one["version"] for one in platform.ask("GET", path(type_))["versions"]]
    assert versions == list(range(1, len(versions) + 1))


def test_of_two_that_register_a_type_at_once_one_makes_it(platform: Platform) -> None:
    type_ = platform.name("t")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: platform.send("PUT", path(type_), form()), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert platform.ask("GET", path(type_))["version"] == 1


def test_a_type_is_deleted_unless_it_was_published(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel)
    platform.ask("DELETE", path(type_), status=204)
    assert platform.send("DELETE", path(type_)).status_code == 404
    platform.ask("PUT", path(type_), form(channel), 201)
    platform.ask("POST", MESSAGES, message(channel, type_, {"orderId": "1"}), 201)
    refused = platform.send("DELETE", path(type_))
    assert refused.status_code == 409
    assert f"messages of type {type_} were published" in refused.json()["detail"]


def test_a_version_that_is_none_is_not_found(platform: Platform) -> None:
    type_ = register(platform)
    for version in ("2", "0", "9" * 18, "one"):
        assert platform.send("GET", path(type_, f"/versions/{version}")).status_code == 404


def test_the_list_comes_in_pages(platform: Platform) -> None:
    mine = [register(platform) for _ in range(5)]
    found = [one["type"] for one in platform.walk(f"{EVENT_TYPES}?", 2)]
    assert [type_ for type_ in found if type_ in mine] == mine
    assert "schema" not in platform.ask("GET", f"{EVENT_TYPES}?limit=1")["items"][0]


def test_a_log_that_is_held_is_told_with_who_holds_it(platform: Platform) -> None:
    platform.database.execute("drop trigger if exists check_event_type on outbox.message")
    with psycopg.connect(platform.service_url) as writer:
        writer.execute("select outbox.publish('c', 't', '{}')")
        answer = platform.send("PUT", path(platform.name("t")), form())
        assert answer.status_code == 503
        assert f"pid {writer.info.backend_pid}" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
        writer.rollback()
    platform.database.execute("select setval('outbox.event_check_missed', 0)")
    register(platform)


def test_a_limited_key_sees_and_writes_types_of_its_channels_alone(limited: Limited) -> None:
    platform, own = limited.platform, f"{limited.prefix}.orders"
    of_both = platform.name("both")
    platform.ask("PUT", path(of_both), {"channels": [own, "orders"], "schema": ORDER}, 201)
    mine = platform.name("mine")
    assert limited.send("PUT", path(mine), form(own)).status_code == 201
    assert [one["type"] for one in limited.items(EVENT_TYPES)] == [mine]
    for method, step, body in (
        ("GET", "", None),
        ("GET", "/versions/1", None),
        ("POST", "/validate", {}),
        ("DELETE", "", None),
    ):
        assert limited.send(method, path(of_both, step), body).status_code == 404
    assert limited.send("PUT", path(of_both), form(own)).status_code == 409
    refused = limited.send("PUT", path(mine), {"channels": [own, "orders"], "schema": ORDER})
    assert (refused.status_code, refused.json()["field"]) == (403, "channels[1]")
    assert limited.send("GET", path(mine, "/versions/1")).status_code == 200
    assert limited.send("DELETE", path(mine)).status_code == 204


def test_what_a_limited_key_refuses_is_refused_in_its_channels_alone(limited: Limited) -> None:
    platform, own = limited.platform, f"{limited.prefix}.orders"
    type_ = platform.name("t")
    assert limited.send("PUT", path(type_), form(own, schema=False)).status_code == 201
    platform.ask("POST", MESSAGES, message("orders", type_, {}), 201)
    bodies: list[Any] = [message("orders", type_, {}), message(own, type_, {})]
    answer = platform.send("POST", TRANSACTIONAL, bodies)
    assert answer.status_code == 422
    assert answer.json()["field"] == "[1].payload"


def test_the_fault_of_the_largest_message_is_found_in_time(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=LINES)
    answer = platform.send("POST", MESSAGES, message(channel, type_, json.loads(many_lines())))
    assert answer.status_code == 422, answer.text
    [fault] = answer.json()["faults"]
    assert (fault["pointer"], fault["keyword"]) == (f"/payload/{MANY}/sku", "type")


def test_a_limited_key_does_not_learn_of_a_types_other_channels(limited: Limited) -> None:
    platform, own = limited.platform, f"{limited.prefix}.orders"
    secret = platform.name("secret")
    type_ = register(platform, secret)
    refused = limited.send("POST", MESSAGES, message(own, type_, {"orderId": "1"}))
    assert (refused.status_code, refused.json()["field"]) == (422, "channelId")
    assert "registered for other channels" in refused.json()["detail"]
    assert secret not in refused.text
    told = platform.send("POST", MESSAGES, message(own, type_, {"orderId": "1"}))
    assert secret in told.text


@pytest.mark.parametrize("scope", SCOPES)
def test_manage_writes_and_read_reads(platform: Platform, scope: Any) -> None:
    type_ = register(platform)
    headers = platform.key(scope)
    for needs, method, step, body in (
        ("read", "GET", "", None),
        ("read", "GET", "/versions/1", None),
        ("read", "POST", "/validate", {}),
        ("manage", "PUT", "", form()),
        ("manage", "DELETE", "", None),
    ):
        status = platform.send(method, path(type_, step), body, headers).status_code
        assert (status == 403) == (needs != scope), (method, step)


def test_registrations_of_one_key_are_prepared_in_turn_with_those_of_others(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of them there are, and however long they take."""
    at_once, order = list[str](), list[str]()
    may_go_on = threading.Event()
    prepare = registration.prepare

    def slow(written: bytes, enforcement: Any) -> registration.Prepared:
        who = "crowd" if b"crowd" in written else "other"
        at_once.append(who)
        order.append(who)
        assert at_once == [who]
        assert may_go_on.wait(20)
        at_once.pop()
        return prepare(written, enforcement)

    monkeypatch.setattr(registration, "prepare", slow)
    crowd, other = (platform.key("manage") for _ in range(2))

    def put(headers: dict[str, str], title: str) -> int:
        of = form(schema={"title": title}, enforcement="off")
        return platform.send("PUT", path(platform.name(title)), of, headers).status_code

    with ThreadPoolExecutor(9) as callers:
        answers = [callers.submit(put, crowd, "crowd") for _ in range(8)]
        eventually(lambda: _is(order == ["crowd"]))
        answers.append(callers.submit(put, other, "other"))
        computing: Any = platform.http.app.state.computing  # type: ignore[attr-defined]
        eventually(lambda: _is((computing._tasks.waiting, computing._pieces.waiting) == (7, 1)))
        may_go_on.set()
        assert {one.result() for one in answers} == {201}
    assert order.index("other") <= 2


def _is(fact: bool) -> None:
    assert fact
