"""Event types whose schemas SQL can't keep: checked over HTTP, and never refused."""

import json
from collections.abc import Sequence
from typing import Any, LiteralString

import pytest

from service.checking.checker import Checker
from service.checking.frames import Question
from tests import event_types
from tests.service.api import Json, Platform
from tests.service.checking.test_checker import DEEP, ENDLESS
from tests.service.platform.limited import Limited
from tests.service.platform.test_event_types import (
    MESSAGES,
    TRANSACTIONAL,
    form,
    message,
    path,
    register,
)

WORD: dict[str, Any] = {
    "type": "object",
    "required": ["word"],
    "properties": {"word": {"type": "string", "pattern": r"\bword"}},
}
KEPT: dict[str, Any] = {**WORD, "properties": {"word": {"type": "string"}}}
FITS, DOES_NOT = {"word": "a word"}, {"word": "swords"}
WHY = r"/properties/word/pattern: '\\bword' has word boundaries"
VERSIONS: LiteralString = """
    select array_agg(type_version order by id) from outbox.message where channel = %s
"""


def versions(platform: Platform, channel: str) -> Any:
    row = platform.database.execute(VERSIONS, [channel]).fetchone()
    return row and row[0]


@pytest.mark.parametrize(
    ("schema", "pointer", "keyword"),
    [
        (WORD, "/schema/properties/word/pattern", "pattern"),
        (
            {"unevaluatedProperties": False},
            "/schema/unevaluatedProperties",
            "unevaluatedProperties",
        ),
    ],
)
def test_it_is_refused_for_refuse_with_its_keyword_and_what_to_do(
    platform: Platform, schema: Json, pointer: str, keyword: str
) -> None:
    type_ = platform.name("t")
    answer = platform.send("PUT", path(type_), form(schema=schema, enforcement="refuse"))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    [fault] = problem["faults"]
    assert (problem["field"], fault["pointer"], fault["keyword"]) == ("schema", pointer, keyword)
    assert "enforce the type by `report`" in fault["detail"]
    assert platform.send("GET", path(type_)).status_code == 404


@pytest.mark.parametrize("enforcement", ["off", "report"])
def test_it_is_registered_and_says_that_sql_does_not_check_it(
    platform: Platform, enforcement: str
) -> None:
    type_ = register(platform, schema=WORD, enforcement=enforcement)
    kept = register(platform)
    shown = platform.ask("GET", path(type_))
    assert (shown["checkedInSql"], shown["notInSql"]) == (False, WHY)
    listed = {one["type"]: one for one in platform.walk("/v1/event-types?", 200)}
    assert (listed[type_]["checkedInSql"], listed[type_]["notInSql"]) == (False, WHY)
    assert (listed[kept]["checkedInSql"], listed[kept]["notInSql"]) == (True, None)


def test_a_type_that_is_reported_is_not_changed_to_refuse(platform: Platform) -> None:
    type_ = register(platform, schema=WORD, enforcement="report")
    answer = platform.send("PUT", path(type_), form(schema=WORD, enforcement="refuse"))
    assert answer.status_code == 422
    assert "enforce the type by `report`" in answer.json()["detail"]
    assert platform.ask("GET", path(type_))["enforcement"] == "report"
    changed = platform.ask("PUT", path(type_), form(schema=KEPT, compatibility="none"))
    assert (changed["enforcement"], changed["checkedInSql"]) == ("refuse", True)


def test_what_does_not_fit_goes_through_and_is_reported(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=WORD, enforcement="report")
    platform.ask("POST", MESSAGES, message(channel, type_, FITS), 201)
    sent = platform.ask("POST", MESSAGES, message(channel, type_, DOES_NOT), 201)
    shown = platform.ask("GET", path(type_))
    [fault] = shown["latestFaults"]
    assert (shown["faults"], fault["messageId"], fault["channelId"]) == (1, sent["id"], channel)
    assert (fault["pointer"], fault["keyword"], fault["version"]) == ("/word", "pattern", 1)
    assert versions(platform, channel) == [1, None]


def test_each_of_many_messages_is_checked_in_their_order(platform: Platform) -> None:
    channel, other = platform.name("c"), platform.name("c")
    word = register(platform, channel, schema=WORD, enforcement="report")
    order = register(platform, channel)
    bodies: list[Json] = [
        message(channel, word, DOES_NOT),
        message(channel, order, {"orderId": "1"}),
        message(channel, word, {**FITS, "colour": "blue"}),
        message(other, word, FITS),
        message(channel, word, FITS),
        message(channel, "unknown", {}),
    ]
    sent = platform.ask("POST", TRANSACTIONAL, bodies, 201)
    assert [int(one["id"]) for one in sent] == sorted(int(one["id"]) for one in sent)
    shown = platform.ask("GET", path(word))
    assert [
        (one["messageId"], one["pointer"], one["keyword"]) for one in shown["latestFaults"]
    ] == [
        (sent[3]["id"], "", "channel"),
        (sent[2]["id"], "/colour", "additionalProperties"),
        (sent[0]["id"], "/word", "pattern"),
    ]
    assert versions(platform, channel) == [None, 1, None, 1, None]


def test_what_is_off_is_published_unseen(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=WORD, enforcement="off")
    platform.ask("POST", MESSAGES, message(channel, type_, DOES_NOT), 201)
    shown = platform.ask("GET", path(type_))
    assert (shown["faults"], shown["latestFaults"]) == (0, [])


@pytest.mark.parametrize("enforcement", ["off", "report"])
def test_a_payload_is_validated_all_the_same(platform: Platform, enforcement: str) -> None:
    type_ = register(platform, schema=WORD, enforcement=enforcement)
    fits = platform.ask("POST", path(type_, "/validate"), FITS)
    assert fits == {"version": 1, "fits": True, "faults": []}
    wrong = platform.ask("POST", path(type_, "/validate"), {**DOES_NOT, "colour": "blue"})
    assert wrong["fits"] is False
    assert {(one["pointer"], one["keyword"], one["detail"]) for one in wrong["faults"]} == {
        ("/word", "pattern", r'does not fit pattern: "\\bword"'),
        ("/colour", "additionalProperties", "no such property is declared"),
    }


def test_an_example_that_does_not_fit_is_refused(platform: Platform) -> None:
    type_ = platform.name("t")
    given = form(schema=WORD, enforcement="report", example=DOES_NOT)
    answer = platform.send("PUT", path(type_), given)
    assert (answer.status_code, answer.json()["field"]) == (422, "example")
    assert 'at "/word" (pattern)' in answer.json()["detail"]
    platform.ask("PUT", path(type_), {**given, "example": FITS}, 201)


def test_a_request_that_is_sent_again_counts_once(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=WORD, enforcement="report")
    headers = {"Idempotency-Key": platform.name("k")}
    body = message(channel, type_, DOES_NOT)
    first, again = (platform.send("POST", MESSAGES, body, headers) for _ in range(2))
    assert (first.status_code, again.text) == (201, first.text)
    assert platform.ask("GET", path(type_))["faults"] == 1


def test_a_version_that_is_made_while_a_message_is_checked_is_the_one_it_is_held_to(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=WORD, enforcement="report")
    ask = Checker.faults
    again = {**WORD, "required": []}

    async def change_and_ask(checker: Checker, asked: Sequence[Question]) -> Any:
        found = await ask(checker, asked)
        if json.loads(asked[0].schema) != again:
            put(platform, type_, channel, again)
        return found

    monkeypatch.setattr(Checker, "faults", change_and_ask)
    platform.ask("POST", MESSAGES, message(channel, type_, {}), 201)
    assert versions(platform, channel) == [2]
    assert platform.ask("GET", path(type_))["faults"] == 0


def test_a_type_that_sql_comes_to_keep_meanwhile_is_checked_there(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=WORD, enforcement="report")
    ask = Checker.faults

    async def change_and_ask(*given: Any) -> Any:
        found = await ask(*given)
        put(platform, type_, channel, KEPT)
        return found

    monkeypatch.setattr(Checker, "faults", change_and_ask)
    platform.ask("POST", MESSAGES, message(channel, type_, DOES_NOT), 201)
    assert versions(platform, channel) == [2]


def put(platform: Platform, type_: str, channel: str, schema: Json) -> None:
    """Another version, past the API, which is busy with the request that waits for this."""
    fields: dict[str, object] = {"enforcement": "report", "compatibility": "none"}
    event_types.register(platform.database, type_, schema, channels=[channel], **fields)


def test_what_takes_too_long_to_check_is_published_and_reported(platform: Platform) -> None:
    channel = platform.name("c")
    type_ = register(platform, channel, schema=ENDLESS, enforcement="report")
    body = message(channel, type_, json.loads(DEEP))
    platform.ask("POST", MESSAGES, body, 201)
    [fault] = platform.ask("GET", path(type_))["latestFaults"]
    assert (fault["pointer"], fault["keyword"]) == ("", "unchecked")


def test_a_type_of_a_limited_key_is_checked_in_its_channels_alone(limited: Limited) -> None:
    platform, own = limited.platform, f"{limited.prefix}.orders"
    type_ = platform.name("t")
    given = form(own, schema=WORD, enforcement="report")
    assert limited.send("PUT", path(type_), given).status_code == 201
    platform.ask("POST", MESSAGES, message("orders", type_, DOES_NOT), 201)
    assert platform.ask("GET", path(type_))["faults"] == 0
    platform.ask("POST", MESSAGES, message(own, type_, DOES_NOT), 201)
    assert platform.ask("GET", path(type_))["faults"] == 1


def test_what_sql_keeps_is_asked_of_sql_alone(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(*_: object) -> Any:
        raise AssertionError("SQL keeps it")

    monkeypatch.setattr(Checker, "faults", ask)
    channel = platform.name("c")
    type_ = register(platform, channel, enforcement="report", example={"orderId": "1"})
    platform.ask("POST", MESSAGES, message(channel, type_, {}), 201)
    platform.ask("POST", path(type_, "/validate"), {})
    assert platform.ask("GET", path(type_))["faults"] == 1
