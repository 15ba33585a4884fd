"""A topic that is away, throttles or denies: told apart, waited for, and no dead letters."""

import pytest

from relay.push.policy.verdict import AWAY
from relay.push.pubsub import codes, session
from tests.eventually import eventually
from tests.relay.push.pubsub.stage import TopicStage
from tests.relay.push.stage import PushRelay


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away is tried again at once."""
    monkeypatch.setattr(session, "AWAY_SECONDS", 0.0)


def test_the_words_of_a_topic_that_is_away_are_among_those_that_hold_a_message() -> None:
    assert {codes.ABSENT, codes.DENIED, codes.REFUSED} <= AWAY


def test_a_topic_that_is_not_there_is_waited_for(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect(make=False)
    topics.stage.publish("a:1", "a:2")
    for _ in range(3):
        relay.round()
    assert "topic_absent" in (topics.waiting_reason() or "")
    assert (topics.stage.rows(), topics.dead()) == ([], [])
    assert topics.server.seen() == []
    topics.make()
    relay.drain()
    assert topics.keys() == ["a:1", "a:2"]
    assert topics.waiting_reason() is None


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("NOT_FOUND", "topic_absent"),
        ("PERMISSION_DENIED", "topic_denied"),
        ("UNAUTHENTICATED", "topic_denied"),
        ("FAILED_PRECONDITION", "topic_refused"),
        ("UNIMPLEMENTED", "topic_refused"),
    ],
)
def test_what_is_the_topics_uses_no_attempt_and_makes_no_dead_letter(
    topics: TopicStage, relay: PushRelay, code: str, word: str
) -> None:
    topics.server.plan(always=code)
    topics.connect(retry={"schedule_seconds": [0], "jitter": 0})
    topics.stage.publish("a:1", "b:1", "a:2")
    for _ in range(5):
        relay.round()
    assert word in (topics.waiting_reason() or "")
    assert topics.dead() == []
    assert all(attempts == 0 for _, attempts, _ in topics.stage.rows())
    topics.server.plan()
    relay.drain()
    topics.stage.let_time_pass()
    relay.drain()
    assert sorted(topics.keys()) == ["a:1", "a:2", "b:1"]
    assert topics.waiting_reason() is None


def test_who_may_publish_and_not_look_publishes(topics: TopicStage, relay: PushRelay) -> None:
    topics.server.plan(get_topic="PERMISSION_DENIED")
    topics.connect()
    topics.stage.publish("a:1")
    relay.drain()
    assert topics.keys() == ["a:1"]


def test_throttling_is_retried_and_does_not_count_as_absence(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(always="RESOURCE_EXHAUSTED")
    topics.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    topics.stage.publish("a:1")
    relay.drain()
    assert topics.stage.rows() == [("a:1", 1, "retry")]
    assert topics.db.execute("select reason from outbox.delivery").fetchall() == [("throttled",)]
    topics.server.plan()
    topics.stage.let_time_pass()
    relay.drain()
    assert topics.keys() == ["a:1"]


@pytest.mark.parametrize(
    "code", ["ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN"]
)
def test_an_outage_is_retried_by_the_schedule(
    topics: TopicStage, relay: PushRelay, code: str
) -> None:
    topics.server.plan(codes=[code])
    topics.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    topics.stage.publish("a:1")
    relay.drain()
    assert topics.stage.rows() == [("a:1", 1, "retry")]
    assert topics.db.execute("select reason from outbox.delivery").fetchall() == [(code,)]
    topics.stage.let_time_pass()
    relay.drain()
    assert topics.keys() == ["a:1"]


def test_an_outage_opens_the_breaker_and_a_probe_closes_it(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(always="UNAVAILABLE")
    topics.connect(breaker={"minimum": 3, "threshold": 0.5, "cool_down_seconds": 60})
    topics.stage.publish("a:1", "b:1", "c:1", "d:1")
    relay.drain()
    assert topics.stage.breaker("shop") == "open"
    topics.server.plan()
    topics.stage.cool_down()
    relay.drain()
    assert topics.stage.breaker("shop") == "closed"
    topics.stage.let_time_pass()
    relay.drain()
    assert sorted(topics.keys()) == ["a:1", "b:1", "c:1", "d:1"]


def test_a_request_that_is_not_answered_in_time_is_given_up(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.server.plan(delay_seconds=60)
    topics.connect(timeout_seconds=1, retry={"schedule_seconds": [600], "jitter": 0})
    topics.stage.publish("a:1")
    relay.drain()
    assert topics.stage.rows() == [("a:1", 1, "retry")]
    assert topics.db.execute("select reason from outbox.delivery").fetchall() == [
        ("DEADLINE_EXCEEDED",)
    ]


def test_a_topic_that_the_operator_does_not_name_is_never_asked(
    topics: TopicStage, relay: PushRelay
) -> None:
    topics.connect(name="project", make=False, project="other-project")
    topics.connect(name="own", make=False, endpoint=None)
    topics.stage.publish("a:1")
    relay.round()
    relay.round()
    for name in ("project", "own"):
        assert "RELAY_ALLOW_HOSTS names no such topic" in (topics.waiting_reason(name) or "")
    assert topics.server.seen() == []


def test_a_credential_that_is_missing_is_named(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect(credentials="other", endpoint=f"https://localhost:{topics.server.port}")
    topics.stage.publish("a:1")
    with PushRelay(
        topics.database_url, RELAY_ALLOW_HOSTS="localhost/projects/local-project"
    ) as relay:
        relay.round()
        relay.round()
    assert "credential other has no service_account" in (topics.waiting_reason() or "")


def test_a_server_that_comes_back_is_found_soon(topics: TopicStage, relay: PushRelay) -> None:
    topics.connect(timeout_seconds=2, retry={"schedule_seconds": [600] * 50, "jitter": 0})
    topics.stage.publish("a:1")
    relay.drain()
    topics.server.kill()
    topics.stage.publish("a:2", "a:3")
    relay.round()
    assert [state for *_, state in topics.stage.rows()] == ["retry", "behind"]
    topics.server.launch()

    def gone() -> None:
        topics.stage.let_time_pass()
        relay.drain()
        assert topics.stage.rows() == []

    # Where the client has just tried in vain it waits a moment until it dials again.
    eventually(gone)
    assert topics.dead() == []
    assert topics.keys() == ["a:1", "a:2", "a:3"]
