"""The doctor looks at each topic and says what is missing."""

import pytest

from relay.doctor.connectors import connectors, look_up
from tests.relay.operating import settings
from tests.relay.push.pubsub.stage import TopicStage


def findings(topics: TopicStage, **environment: str) -> list[tuple[str, str]]:
    own = settings(topics.database_url, **topics.environment | environment)
    return [(one.level, one.text) for one in look_up(connectors(topics.db), own)]


def test_a_topic_that_takes_messages_is_reached_and_gets_none(topics: TopicStage) -> None:
    topics.connect()
    ((level, text),) = findings(topics)
    assert (level, "may publish there" in text) == ("ok", True)
    assert topics.server.seen() == []


@pytest.mark.parametrize(
    ("make", "plan", "level", "words"),
    [
        (False, {}, "fault", "topic_absent"),
        (True, {"permissions": []}, "fault", "lacks pubsub.topics.publish"),
        (
            True,
            {"permissions": [], "get_topic": "PERMISSION_DENIED"},
            "fault",
            "topic_denied",
        ),
        (True, {"get_topic": "PERMISSION_DENIED"}, "ok", "may publish there"),
        (True, {"permissions": None}, "ok", "may publish there"),
    ],
)
def test_what_the_topic_says_is_said(
    topics: TopicStage, make: bool, plan: dict[str, object], level: str, words: str
) -> None:
    topics.connect(make=make)
    topics.server.plan(**plan)
    ((found, text),) = findings(topics)
    assert (found, words in text) == (level, True)


def test_what_the_operator_does_not_allow_is_said(topics: TopicStage) -> None:
    topics.connect()
    ((level, text),) = findings(topics, RELAY_ALLOW_HOSTS="")
    assert (level, "RELAY_ALLOW_HOSTS names no such topic" in text) == ("fault", True)
