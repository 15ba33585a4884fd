"""What the database takes for the settings of a subscription, the relay can read."""

import json
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import errors
from psycopg.types.json import Jsonb

from relay.push.policy.schedule import Retry
from relay.push.policy.settings import Endpoint, decode
from tests.sql.log import Session, one

ENDPOINT = {"endpoint": "https://h/"}
FAULT = "select outbox.http_settings_fault(%s)"
# As the relay is given them.
TEXT = "select %s::jsonb::text"

names = st.sampled_from(
    [
        *(field.name for field in msgspec.structs.fields(Endpoint)),
        *(field.name for field in msgspec.structs.fields(Retry)),
        *("window_seconds", "minimum", "threshold", "cool_down_seconds"),
        *("retry.jitter", "retry.retry", "breaker.minimum", "endpoint.x", ".jitter", "retry.", ""),
        *("Concurrency", "types", "topic_prefix"),
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
odd: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(names, anything, max_size=1)
fitting = st.fixed_dictionaries(
    {"endpoint": st.sampled_from(["http://h", "https://h:8/?a=1"])},
    optional={
        "concurrency": st.integers(1, 1000),
        "rate_per_second": st.floats(0.01, 100_000) | st.integers(1, 100_000),
        "timeout_seconds": st.floats(1, 60),
        "max_payload_bytes": st.integers(1, 983_040),
        "client_errors": st.sampled_from(["retry", "dead_letter"]),
        "on_exhausted": st.sampled_from(["skip", "park"]),
        "attempts_log": st.sampled_from(["all", "failures", "none"]),
    },
)
schedule = st.fixed_dictionaries(
    {},
    optional={
        "schedule_seconds": st.lists(st.floats(0, 604_800), max_size=4),
        "jitter": st.floats(0, 1),
    },
)
computed = st.fixed_dictionaries(
    {},
    optional={
        "initial_delay_seconds": st.floats(0, 86_400),
        "multiplier": st.floats(1, 100),
        "max_delay_seconds": st.floats(0, 604_800),
        "max_attempts": st.integers(1, 100),
        "jitter": st.floats(0, 1),
    },
)
breaker = st.fixed_dictionaries(
    {},
    optional={
        "window_seconds": st.floats(1, 3600),
        "minimum": st.integers(1, 1_000_000),
        "threshold": st.floats(0.01, 1),
        "cool_down_seconds": st.floats(1, 86_400),
    },
)


def spoil(
    top: dict[str, Any], parts: dict[str, dict[str, Any]], place: str, more: dict[str, Any]
) -> dict[str, Any]:
    """Settings that fit, and in one place something else or nothing."""
    if place == "":
        return {**top, **parts, **more}
    return {**top, **parts, place: {**parts.get(place, {}), **more}}


@example({**ENDPOINT, "retry.jitter": 0.5})
@example({**ENDPOINT, "retry": {"schedule_seconds": [None]}})
@example({**ENDPOINT, "concurrency": 10**400})
@example({**ENDPOINT, "retry": None})
@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.builds(
        spoil,
        fitting,
        st.fixed_dictionaries({}, optional={"retry": schedule | computed, "breaker": breaker}),
        st.sampled_from(["", "retry", "breaker"]),
        odd,
    )
)
def test_what_the_database_accepts_of_an_endpoint_the_relay_decodes(
    db: Session, stored: dict[str, Any]
) -> None:
    try:
        fault = one(db, FAULT, Jsonb(stored))
    except psycopg.DataError:
        # No jsonb holds it: a NUL, or a number beyond all.
        return
    if fault is None:
        assert isinstance(decode(one(db, TEXT, Jsonb(stored))), Endpoint)


def test_all_settings_at_once_are_accepted(db: Session) -> None:
    """So that the test before tries more than refusals."""
    stored = {
        **ENDPOINT,
        "concurrency": 1,
        "rate_per_second": 0.5,
        "client_errors": "dead_letter",
        "retry": {"schedule_seconds": [0, 1.5], "jitter": 0},
        "breaker": {"minimum": 5, "threshold": 0.5},
    }
    assert one(db, FAULT, Jsonb(stored)) is None
    assert decode(json.dumps(stored)).retry.jitter == 0


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"retry.jitter": 0.5}, "retry.jitter is one name: put jitter into the object retry"),
        ({"jitter": 0.5}, "jitter is not known; known are "),
        ({"retry": {"retry.jitter": 1}}, "retry.retry.jitter is not known; known are "),
        ({"breaker": {"jitter": 1}}, "breaker.jitter is not known; known are "),
        ({"": 1}, " is not known; known are "),
        ({"retry": [1]}, "retry must be an object"),
    ],
)
def test_a_name_that_is_none_is_refused_and_named(
    db: Session, stored: dict[str, Any], sentence: str
) -> None:
    fault = one(db, FAULT, Jsonb({**ENDPOINT, **stored}))
    assert fault.startswith(f"settings.{sentence}")


ADD = "insert into outbox.subscription (name, kind, settings) values ('other', 'kafka', %s)"


@pytest.mark.parametrize(
    "stored",
    [
        {"topic_prefix": None},
        {"topic_prefix": 1},
        {"topic_prefix": ["a"]},
        {"topic_prefix": {"a": "b"}},
        {"topic_prefix": "a b"},
        {"topic_prefix": "a" * 50},
        {"topic.prefix": "a"},
        {"topic_prefix": "a", "retry": {}},
        {"": "a"},
        [],
        ["topic_prefix"],
        None,
        "topic_prefix",
    ],
)
def test_of_a_subscription_to_kafka_nothing_but_a_prefix_is_accepted(
    db: Session, stored: object
) -> None:
    with pytest.raises(errors.CheckViolation):
        db.execute(ADD, [Jsonb(stored)])
