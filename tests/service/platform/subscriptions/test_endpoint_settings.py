"""How an endpoint is served: to the API, to the database and to the relay the same settings."""

import json

import msgspec
import pytest

from relay.push.policy import schedule
from relay.push.policy import settings as endpoint
from service.platform.subscriptions.endpoint_settings import (
    DEFAULTS,
    HTTP_NAMES,
    STORED_NAMES,
    merged,
)
from tests.service.api import SUBSCRIPTIONS, Json, Platform, path

SETTINGS: Json = {
    "concurrency": 4,
    "ratePerSecond": 12.5,
    "timeoutSeconds": 3.0,
    "maxPayloadBytes": 1000,
    "clientErrors": "dead_letter",
    "onExhausted": "park",
    "attemptsLog": "failures",
    "retry": {
        "initialDelay": 1.0,
        "multiplier": 3.0,
        "maxDelay": 60.0,
        "maxAttempts": 4,
        "jitter": 0.0,
    },
    "breaker": {"window": 60.0, "minimum": 5, "threshold": 0.5, "coolDown": 2.0},
}


def stored(platform: Platform, subscription: Json) -> Json:
    """The settings as SQL has them."""
    row = platform.database.execute(
        "select settings from outbox.subscription where id = %s", [int(subscription["id"])]
    ).fetchone()
    assert row is not None
    settings: Json = row[0]
    return settings


def test_a_subscription_reads_as_it_was_made(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a", "b"], shards=2)
    read = platform.ask("GET", path(made))
    assert {name: read[name] for name in SETTINGS} == SETTINGS
    assert (read["types"], read["shards"], read["kind"]) == (["a", "b"], 2, "http")
    assert read["breakerState"]["state"] == "closed"
    assert read["counts"] == {
        "untried": 0,
        "retrying": 0,
        "inFlight": 0,
        "parked": 0,
        "deadLetters": 0,
    }


def test_what_is_stored_is_what_the_relay_takes(platform: Platform) -> None:
    taken = endpoint.decode(json.dumps(stored(platform, platform.subscription(**SETTINGS))))
    assert isinstance(taken, endpoint.Endpoint)
    assert taken.client_errors == "dead_letter"
    assert taken.breaker.cool_down_seconds == 2
    assert taken.retry.initial_delay_seconds == 1


def test_the_defaults_that_are_shown_are_those_of_the_relay(platform: Platform) -> None:
    """Names and values: of an endpoint that says nothing, and of a retry that says little."""
    read = platform.ask("GET", path(platform.subscription()))
    default = endpoint.decode(b'{"endpoint": "https://receiver.example/hook"}')
    shown = {name: read[name] for name in (*DEFAULTS, "endpoint", "breaker")}
    theirs = msgspec.to_builtins(default)
    del theirs["retry"]
    assert merged({}, shown) == {k: v for k, v in theirs.items() if v is not None}
    assert read["retry"] == {
        "schedule": list(schedule.DEFAULT_SCHEDULE_SECONDS),
        "jitter": schedule.DEFAULT_JITTER,
    }
    computed = platform.ask("GET", path(platform.subscription(retry={"multiplier": 4.0})))["retry"]
    assert computed == {
        "initialDelay": schedule.DEFAULT_INITIAL_DELAY_SECONDS,
        "multiplier": 4.0,
        "maxDelay": schedule.DEFAULT_MAX_DELAY_SECONDS,
        "maxAttempts": schedule.DEFAULT_MAX_ATTEMPTS,
        "jitter": schedule.DEFAULT_JITTER,
    }


@pytest.mark.parametrize(
    ("retry", "attempts"), [({"maxAttempts": 3, "maxDelay": 20}, 3), ({"maxAttempts": 12}, 12)]
)
def test_the_schedule_that_is_shown_is_the_one_that_the_relay_keeps(
    platform: Platform, retry: Json, attempts: int
) -> None:
    made = platform.subscription(retry={**retry, "jitter": 0})
    kept = endpoint.decode(json.dumps(stored(platform, made))).retry
    delays = [schedule.delay_seconds(kept, done, lambda: 0.0) for done in range(1, attempts + 1)]
    shown = platform.ask("GET", path(made))["retry"]
    assert [*shown["schedule"], None] == delays
    # What is shown may be given, as the document says.
    assert platform.subscription(retry=shown)["retry"] == shown


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"endpoint": "ftp://a.example"}, "endpoint"),
        ({"endpoint": "https://user:password@a.example/"}, "endpoint"),
        ({"endpoint": "https://a.example/#fragment"}, "endpoint"),
        ({"endpoint": "https://a.example:65536/"}, "endpoint"),
        ({"endpoint": "https:///nowhere"}, "endpoint"),
        ({"endpoint": "https://[::1::2]/"}, "endpoint"),
        ({"name": "two words"}, "name"),
        ({"channelId": "two words"}, "channelId"),
        ({"types": []}, "types"),
        ({"shards": 65}, "shards"),
        ({"timeoutSeconds": 0.5}, "timeoutSeconds"),
        ({"ratePerSecond": 0}, "ratePerSecond"),
        ({"clientErrors": "ignore"}, "clientErrors"),
        ({"retry": {"maxAttempts": 0}}, "retry.maxAttempts"),
        ({"retry": {"schedule": [1, -1]}}, "retry.schedule[1]"),
        ({"retry": {"schedule": [1], "maxAttempts": 3}}, "retry"),
        ({"breaker": {"coolDown": 0.9}}, "breaker.coolDown"),
        ({"breaker": {"coolDownSeconds": 1}}, "breaker.coolDownSeconds"),
        ({"sharks": 1}, "sharks"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(
    platform: Platform, fields: Json, blamed: str
) -> None:
    form = {
        "channelId": "c",
        "endpoint": "https://a.example",
        "name": platform.name(),
        **fields,
    }
    assert platform.field("POST", SUBSCRIPTIONS, form) == blamed


def test_the_bounds_of_the_document_are_the_bounds_of_the_database(platform: Platform) -> None:
    schemas = platform.http.get("/openapi.json").json()["components"]["schemas"]
    bounds = platform.database.execute(
        "select path, kind, lowest::float8, highest::float8, words from outbox.http_setting"
    ).fetchall()
    assert {setting for setting, *_ in bounds} == {
        *(STORED_NAMES[name] for name in DEFAULTS),
        "endpoint",
        *(f"retry.{STORED_NAMES[name]}" for name in schemas["Retry"]["properties"]),
        *(f"breaker.{STORED_NAMES[name]}" for name in schemas["Breaker"]["properties"]),
    }
    for setting, kind, lowest, highest, words in bounds:
        part, _, inner = setting.rpartition(".")
        schema = schemas[part.capitalize() or "SubscriptionForm"]["properties"]
        [said, *_] = (shape := schema[HTTP_NAMES[inner]]).get("anyOf", [shape])
        said = said.get("items", said)
        if kind == "word":
            assert sorted(said["enum"]) == sorted(words)
        elif kind != "url":
            assert (said["minimum"], said["maximum"]) == (lowest, highest), setting


def test_a_change_leaves_alone_what_it_does_not_name(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a"])
    new = platform.name()
    changed = platform.ask(
        "PATCH", path(made), {"name": new, "timeoutSeconds": 9, "breaker": {"minimum": 7}}
    )
    expected = {name: made[name] for name in made if name != "secret"}
    expected |= {"name": new, "timeoutSeconds": 9, "breaker": {**made["breaker"], "minimum": 7}}
    assert changed == expected


def test_null_takes_a_setting_back_to_its_default(platform: Platform) -> None:
    made = platform.subscription(**SETTINGS, types=["a"])
    change = {
        "types": None,
        "concurrency": None,
        "retry": None,
        "breaker": dict.fromkeys(SETTINGS["breaker"]),
    }
    changed = platform.ask("PATCH", path(made), change)
    assert (changed["types"], changed["concurrency"]) == (
        None,
        DEFAULTS["concurrency"],
    )
    assert "retry" not in stored(platform, made)
    assert "breaker" not in stored(platform, made)


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"endpoint": None}, "endpoint"),
        ({"shards": 2}, "shards"),
        ({"retry": {"schedule": [1]}}, "retry"),
        ({"paused": True}, "paused"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_its_name(
    platform: Platform, change: Json, blamed: str
) -> None:
    made = platform.subscription(retry={"maxAttempts": 3})
    assert platform.field("PATCH", path(made), change) == blamed


@pytest.mark.parametrize(
    ("change", "field", "known"),
    [
        ({"colour": 1}, "colour", ["attemptsLog", "breaker", "channelId", "retry", "types"]),
        ({"retry": {"colour": 1}}, "retry.colour", ["initialDelay", "jitter", "schedule"]),
        ({"breaker": {"colour": 1}}, "breaker.colour", ["coolDown", "minimum", "window"]),
    ],
)
def test_a_setting_that_is_not_known_is_told_with_those_that_are(
    platform: Platform, change: Json, field: str, known: list[str]
) -> None:
    made = platform.subscription()
    answer = platform.send("PATCH", path(made), change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    _, _, listed = answer.json()["detail"].partition("; known are ")
    assert set(known) <= set(listed.rstrip(".").split(", "))
