"""A queue that is away, throttles or denies: told apart, waited for, and no dead letters."""

import pytest

from relay.push.policy.verdict import AWAY
from relay.push.sqs import codes, session
from tests.fault_proxy import LOOK, SEND, Refusal, Request
from tests.relay.push.sqs.stage import KEY_ID, QueueStage
from tests.relay.push.stage import PushRelay


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away is tried again at once."""
    monkeypatch.setattr(session, "AWAY_SECONDS", 0.0)


def test_the_words_of_a_queue_that_is_away_are_among_those_that_hold_a_message() -> None:
    assert {codes.ABSENT, codes.DENIED, codes.REFUSED} <= AWAY


def refusing(code: str, *, status: int = 400) -> "Refuse":
    return Refuse(Refusal(code, status=status))


class Refuse:
    """Refuses each request that sends, until it is told otherwise."""

    def __init__(self, refusal: Refusal | None) -> None:
        self.refusal = refusal

    def __call__(self, request: Request) -> Refusal | None:
        return self.refusal if request.action == SEND else None


def test_a_queue_that_is_not_there_is_waited_for(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect(make=False)
    queues.stage.publish("a:1", "a:2")
    for _ in range(3):
        relay.round()
    assert "queue_absent" in (queues.waiting_reason() or "")
    assert (queues.stage.rows(), queues.dead()) == ([], [])
    queues.server.create_queue(queues.name("orders.fifo"))
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:1", "a:2"]
    assert queues.waiting_reason() is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", "queue_absent"),
        ("QueueDoesNotExist", "queue_absent"),
        ("AccessDenied", "queue_denied"),
        ("InvalidClientTokenId", "queue_denied"),
        ("KmsAccessDenied", "queue_denied"),
        ("KmsDisabled", "queue_refused"),
        # Each request of ours has all parameters that its kind of queue takes.
        ("MissingParameter", "queue_refused"),
        ("SomethingThatIsNewIn2030", "queue_refused"),
    ],
)
def test_what_is_the_queues_uses_no_attempt_and_makes_no_dead_letter(
    queues: QueueStage, relay: PushRelay, code: str, word: str
) -> None:
    queues.proxy.refuse = refuse = refusing(code)
    queues.connect(retry={"schedule_seconds": [0], "jitter": 0})
    queues.stage.publish("a:1", "b:1", "a:2")
    for _ in range(5):
        relay.round()
    assert word in (queues.waiting_reason() or "")
    assert queues.dead() == []
    assert all(attempts == 0 for _, attempts, _ in queues.stage.rows())
    refuse.refusal = None
    relay.drain()
    queues.stage.let_time_pass()
    relay.drain()
    assert sorted(one.key for one in queues.arrived()) == ["a:1", "a:2", "b:1"]
    assert queues.waiting_reason() is None


@pytest.mark.parametrize("refusal", [Refusal("RequestThrottled"), Refusal("Slow", status=429)])
def test_throttling_is_retried_and_does_not_count_as_absence(
    queues: QueueStage, relay: PushRelay, refusal: Refusal
) -> None:
    queues.proxy.refuse = refuse = Refuse(refusal)
    queues.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    queues.stage.publish("a:1")
    relay.drain()
    assert queues.stage.rows() == [("a:1", 1, "retry")]
    assert queues.db.execute("select reason from outbox.delivery").fetchall() == [("throttled",)]
    refuse.refusal = None
    queues.stage.let_time_pass()
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:1"]


@pytest.mark.parametrize("code", ["ThrottlingException", "AWS.SimpleQueueService.OverLimit"])
def test_throttling_of_one_entry_is_no_fault_of_its_message(
    queues: QueueStage, relay: PushRelay, code: str
) -> None:
    queues.proxy.drop = lambda _: Refusal(code, sender_fault=True)
    queues.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    queues.stage.publish("a:1")
    relay.drain()
    assert queues.stage.rows() == [("a:1", 1, "retry")]
    assert queues.dead() == []


def test_a_request_that_fails_as_a_whole_is_retried_whole(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.proxy.refuse = refuse = refusing("InternalFailure", status=500)
    queues.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    queues.stage.publish("a:1", "b:1")
    relay.drain()
    assert queues.stage.rows() == [("a:1", 1, "retry"), ("b:1", 1, "retry")]
    refuse.refusal = None
    queues.stage.let_time_pass()
    relay.drain()
    assert sorted(one.key for one in queues.arrived()) == ["a:1", "b:1"]


@pytest.mark.parametrize("base", ["orders.fifo", "orders"])
def test_a_queue_of_the_other_kind_is_waited_for(
    queues: QueueStage, relay: PushRelay, base: str
) -> None:
    """It would refuse each message by its group, as if that were the message's fault."""
    other = "false" if base.endswith(".fifo") else "true"
    queues.proxy.rewrite = lambda action, said: (
        {"Attributes": {**said["Attributes"], "FifoQueue": other}} if action == LOOK else said
    )
    queues.connect(base)
    queues.stage.publish("a:1")
    relay.round()
    relay.round()
    assert "queue_refused: it is a " in (queues.waiting_reason() or "")
    assert (queues.dead(), queues.proxy.batches) == ([], [])


def test_a_standard_queue_is_not_asked_whether_it_is_fifo(
    queues: QueueStage, relay: PushRelay
) -> None:
    """SQS refuses that attribute by its name."""
    queues.connect("orders")
    queues.stage.publish("a:1")
    relay.drain()
    asked = [one.body["AttributeNames"] for one in queues.proxy.requests if one.action == LOOK]
    assert asked == [["All"]]


def test_a_queue_that_the_operator_does_not_name_is_never_asked(
    queues: QueueStage, relay: PushRelay
) -> None:
    for name, given in (
        ("account", {"queue_url": queues.url("orders.fifo").replace("/0000", "/1000")}),
        ("own", {"queue_url": "http://127.0.0.1:1/000000000000/q", "credentials": None}),
        ("role", {"role_arn": "arn:aws:iam::123456789012:role/x"}),
    ):
        queues.connect(name=name, make=False, **given)
    queues.stage.publish("a:1")
    relay.round()
    relay.round()
    assert "RELAY_ALLOW_HOSTS names no such queue" in (queues.waiting_reason("account") or "")
    assert "RELAY_ALLOW_HOSTS names no such queue" in (queues.waiting_reason("own") or "")
    assert "is not among RELAY_ALLOW_ROLES" in (queues.waiting_reason("role") or "")
    assert queues.proxy.requests == []


def test_a_credential_that_is_missing_is_named(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect(credentials="other")
    queues.stage.publish("a:1")
    relay.round()
    relay.round()
    assert "credential other has no username" in (queues.waiting_reason() or "")


def test_requests_are_signed_by_the_credential(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect()
    queues.stage.publish("a:1")
    relay.drain()
    assert queues.proxy.batches
    assert all(f"Credential={KEY_ID}/" in one.authorization for one in queues.proxy.requests)
