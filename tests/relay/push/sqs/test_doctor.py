"""The doctor tries each queue and says what is missing."""

import pytest

from relay.doctor.connectors import connectors, look_up
from tests.fault_proxy import Refusal
from tests.relay.operating import settings
from tests.relay.push.sqs.stage import QueueStage


def findings(queues: QueueStage, **environment: str) -> list[tuple[str, str]]:
    own = settings(queues.database_url, **queues.environment | environment)
    return [(one.level, one.text) for one in look_up(connectors(queues.db), own)]


def test_a_queue_that_is_there_is_reached(queues: QueueStage) -> None:
    queues.connect()
    ((level, text),) = findings(queues)
    assert level == "ok"
    assert "shop reaches its queue" in text
    assert [one.action for one in queues.proxy.requests] == ["AmazonSQS.GetQueueAttributes"]


@pytest.mark.parametrize(
    ("code", "level", "words"),
    [
        ("QueueDoesNotExist", "fault", "queue_absent"),
        ("AccessDenied", "warning", "queue_denied"),
        ("KmsDisabled", "fault", "queue_refused"),
    ],
)
def test_what_the_queue_says_is_said(queues: QueueStage, code: str, level: str, words: str) -> None:
    queues.proxy.refuse = lambda _: Refusal(code)
    queues.connect()
    ((found, text),) = findings(queues)
    assert (found, words in text) == (level, True)


def test_what_the_operator_does_not_allow_is_said(queues: QueueStage) -> None:
    queues.connect()
    ((level, text),) = findings(queues, RELAY_ALLOW_HOSTS="")
    assert (level, "RELAY_ALLOW_HOSTS names no such queue" in text) == ("fault", True)
