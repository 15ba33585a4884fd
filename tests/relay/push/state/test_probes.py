"""The one message of a half-open breaker: an attempt where it is answered, and only there."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from relay.push import runs
from relay.push.http.answer import Answer
from relay.push.policy.settings import Endpoint
from relay.push.policy.verdict import Verdict, judge
from relay.push.requests import sending
from tests.eventually import eventually
from tests.receiver import OK, Reaction, after, cut, hang, reset, respond
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

NO = respond(503)
FOUR_ATTEMPTS = {"schedule_seconds": [0, 0, 0], "jitter": 0}
OPENS_AT_TWO = {"minimum": 2, "threshold": 0.5, "cool_down_seconds": 600}
OpenRelay = Callable[[], PushRelay]

NUMBERS = "select number, next_at is not null from outbox.attempt order by id"
PAUSED = "select paused from outbox.subscription"
OPEN_FOR = "select extract(epoch from retry_at - clock_timestamp())::float8 from outbox.breaker"
DUE_IN = "select extract(epoch from due_at - clock_timestamp())::float8 from outbox.delivery"
AS_SAID = """
select bool_and(d.due_at - a.next_at between interval '-1 second' and interval '1 second')
from outbox.delivery d
join lateral (
    select next_at from outbox.attempt a
    where a.message_id = d.message_id order by a.id desc limit 1
) a on true
"""
FAILING_FOR_DAYS = "update outbox.breaker set failing_since = now() - interval '5 days 1 second'"


def alone(stage: PushStage, relay: PushRelay, refusal: Reaction = NO, **settings: Any) -> Answers:
    """One group, whose first message alone has opened the breaker by two refusals."""
    wanted: dict[str, Any] = {"breaker": OPENS_AT_TWO, "retry": FOUR_ATTEMPTS}
    stage.subscribe(**(wanted | settings))
    stage.receiver.react = answers = Answers().give("a:1", refusal)
    stage.publish("a:1", "a:2", "a:3")
    relay.drain()
    assert (stage.breaker(), stage.keys()) == ("open", ["a:1", "a:1"])
    stage.receiver.requests.clear()
    return answers


def probe(stage: PushStage, relay: PushRelay) -> None:
    """A cool-down is over."""
    stage.cool_down()
    relay.round()


def settled(stage: PushStage, *rows: tuple[str, int, str]) -> None:
    def there() -> None:
        assert stage.rows() == list(rows)

    eventually(there)


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_a_group_alone_whose_message_is_always_refused_gets_a_dead_letter_and_goes_on(
    stage: PushStage, relay: PushRelay, status: int
) -> None:
    answers = alone(stage, relay)
    answers.give("a:1", respond(status))
    for _ in range(3):
        probe(stage, relay)
    reason = "redirect" if status == 302 else f"http_{status}"
    assert stage.dead_letters() == [("a:1", reason, "4 attempts", 4, False, False)]
    assert (stage.breaker(), answers.accepted) == ("closed", ["a:2"])
    relay.drain()
    assert (answers.accepted, stage.rows()) == (["a:2", "a:3"], [])
    assert not one(stage.db, PAUSED)


def test_by_park_the_group_waits_for_its_dead_letter_and_another_group_closes_the_breaker(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = alone(stage, relay, on_exhausted="park")
    probe(stage, relay)
    probe(stage, relay)
    parked = [("a:1", 4, "parked"), ("a:2", 0, "behind"), ("a:3", 0, "behind")]
    probe(stage, relay)
    assert (stage.rows(), stage.breaker(), len(stage.keys())) == (parked, "half-open", 2)
    stage.publish("b:1")
    relay.round()
    assert (stage.rows(), stage.breaker(), answers.accepted) == (parked, "closed", ["b:1"])


def test_a_probe_that_is_refused_for_good_is_a_dead_letter_at_once(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = alone(stage, relay, client_errors="dead_letter")
    answers.give("a:1", respond(422))
    probe(stage, relay)
    assert stage.dead_letters() == [("a:1", "http_422", None, 3, False, False)]
    probe(stage, relay)
    assert (stage.breaker(), answers.accepted) == ("closed", ["a:2"])


def test_the_log_of_attempts_and_the_row_say_the_same_of_a_refused_probe(
    stage: PushStage, relay: PushRelay
) -> None:
    alone(stage, relay)
    stage.settle("billing", retry={"schedule_seconds": [0, 0, 600], "jitter": 0})
    probe(stage, relay)
    assert stage.rows()[0] == ("a:1", 3, "retry")
    assert stage.db.execute(NUMBERS).fetchall() == [(1, True), (2, True), (3, True)]
    assert one(stage.db, AS_SAID)


async def nonsense(connection: Any) -> None:
    connection.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    connection.close()


@pytest.mark.parametrize(
    "silence", [cut, reset, nonsense, hang], ids=["cut", "reset", "no HTTP", "no answer in time"]
)
def test_a_probe_without_an_answer_is_no_attempt_and_its_message_stays_due(
    stage: PushStage, relay: PushRelay, silence: Reaction
) -> None:
    answers = alone(stage, relay, timeout_seconds=1)
    answers.give("a:1", silence, silence, silence, OK)
    for probes in (1, 2, 3):
        probe(stage, relay)
        assert (stage.rows()[0], stage.breaker()) == (("a:1", 2, "retry"), "open")
        assert len(stage.keys()) == probes
    assert stage.db.execute(NUMBERS).fetchall()[2:] == [(3, False)] * 3
    probe(stage, relay)
    assert (stage.breaker(), answers.accepted[:1]) == ("closed", ["a:1"])
    assert stage.dead_letters() == []


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [
        ("http://127.0.0.1:{free_port}/", "connect"),
        ("http://no-such-name.invalid/", "dns"),
        ("http://10.1.2.3/", "forbidden_address"),
    ],
    ids=["connect", "dns", "forbidden address"],
)
def test_a_probe_without_a_connection_is_no_attempt(
    stage: PushStage, relay: PushRelay, endpoint: str, error: str
) -> None:
    alone(stage, relay)
    rows = stage.rows()
    stage.settle("billing", endpoint=endpoint.format(free_port=free_port()))
    for _ in range(5):
        probe(stage, relay)
    assert (stage.rows(), stage.dead_letters(), stage.breaker()) == (rows, [], "open")
    logged = "select error from outbox.attempt order by id offset 2"
    assert stage.db.execute(logged).fetchall() == [(error,)] * 5


NO_ANSWER = (
    *("timeout", "dns", "connect", "tls", "disconnected", "protocol", "forbidden_address"),
    *("url", "fault"),
)


@pytest.mark.parametrize("error", NO_ANSWER)
def test_no_failure_without_an_answer_uses_an_attempt_of_a_probe(error: str) -> None:
    endpoint = Endpoint(endpoint="", client_errors="dead_letter")
    answer = Answer(None, error, "", b"", None, None, 0.0)
    verdicts = [
        judge(endpoint, 8, answer, probing=probing, now=0.0, random=lambda: 0.0)
        for probing in (True, False)
    ]
    assert verdicts[0] == Verdict("retry", 8, 0.0)
    assert (verdicts[1].kind, verdicts[1].attempts) == ("dead", 9)


def test_a_message_is_probed_no_sooner_than_its_schedule_says(
    stage: PushStage, relay: PushRelay
) -> None:
    alone(stage, relay)
    stage.settle("billing", retry={"schedule_seconds": [0, 0, 600, 600], "jitter": 0})
    for _ in range(4):
        probe(stage, relay)
    assert stage.keys() == ["a:1"]
    assert stage.rows()[0] == ("a:1", 3, "retry")
    stage.let_time_pass()
    for _ in range(4):
        probe(stage, relay)
    assert stage.keys() == ["a:1", "a:1"]


def test_where_no_row_is_due_the_logs_next_message_of_another_group_is_the_probe(
    stage: PushStage, relay: PushRelay
) -> None:
    answers = alone(stage, relay)
    stage.settle("billing", retry={"schedule_seconds": [0, 0, 600, 600], "jitter": 0})
    probe(stage, relay)
    stage.publish("a:4", "b:1", "b:2")
    probe(stage, relay)
    assert (stage.keys(), stage.breaker()) == (["a:1", "b:1"], "closed")
    relay.drain()
    assert answers.accepted == ["b:1", "b:2"]
    assert [key for key, _, _ in stage.rows()] == ["a:1", "a:2", "a:3", "a:4"]


@pytest.mark.parametrize(
    ("answer", "attempts"), [(NO, 1), (cut, 0)], ids=["failed", "without an answer"]
)
def test_a_probe_from_the_log_is_a_first_attempt_where_it_is_answered(
    stage: PushStage, relay: PushRelay, answer: Reaction, attempts: int
) -> None:
    answers = alone(stage, relay)
    stage.settle("billing", retry={"schedule_seconds": [0, 0, 600, 600], "jitter": 0})
    probe(stage, relay)
    stage.publish("b:1", "b:2")
    answers.give("b:1", answer)
    probe(stage, relay)
    assert stage.rows()[-1] == ("b:1", attempts, "retry")
    assert stage.breaker() == "open"


def test_each_refused_head_waits_for_its_schedule_while_the_others_are_probed(
    stage: PushStage, relay: PushRelay
) -> None:
    """With many groups the outage costs one attempt a cool-down, and none out of its turn."""
    stage.subscribe(breaker=OPENS_AT_TWO | {"minimum": 6}, retry=LATER | {"jitter": 0})
    stage.settle("billing", retry={"schedule_seconds": [0, *[600] * 8], "jitter": 0})
    stage.receiver.react = NO
    stage.publish(*(f"g{number}:1" for number in range(6)))
    relay.drain()
    assert stage.breaker() == "open"
    stage.receiver.requests.clear()
    for _ in range(10):
        probe(stage, relay)
    assert sorted(stage.keys()) == [f"g{number}:1" for number in range(6)]
    assert {(attempts, state) for _, attempts, state in stage.rows()} == {(2, "retry")}


@pytest.mark.parametrize("seconds", [0, 7200])
def test_the_breaker_stays_open_for_what_the_endpoint_asks_and_not_for_the_messages_wait(
    stage: PushStage, relay: PushRelay, seconds: int
) -> None:
    answers = alone(stage, relay)
    answers.give("a:1", respond(503, headers={"Retry-After": str(seconds)}))
    stage.settle("billing", retry={"schedule_seconds": [0, 0, 5000], "jitter": 0})
    probe(stage, relay)
    wait = max(seconds, 600)
    assert wait - 60 < one(stage.db, OPEN_FOR) <= wait
    due_in = one(stage.db, DUE_IN + " where attempts = 3")
    assert max(seconds, 5000) - 60 < due_in <= max(seconds, 5000)


@pytest.mark.parametrize(
    ("answer", "row", "state"),
    [
        (NO, ("a:1", 3, "retry"), "open"),
        (cut, ("a:1", 2, "retry"), "open"),
        (respond(422), ("a:1", 3, "dead"), "half-open"),
    ],
    ids=["failed", "without an answer", "refused"],
)
def test_a_probe_whose_outcome_comes_after_its_run_counts_the_same(
    stage: PushStage,
    relay: PushRelay,
    open_relay: OpenRelay,
    monkeypatch: pytest.MonkeyPatch,
    answer: Reaction,
    row: tuple[str, int, str],
    state: str,
) -> None:
    answers = alone(stage, relay, client_errors="dead_letter")
    answers.give("a:1", after(0.5, answer))
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)
    probe(stage, relay)
    settled(stage, row, *stage.rows()[1:])
    assert (stage.breaker(), stage.dead_letters()) == (state, [])
    monkeypatch.setattr(sending, "TAIL_SECONDS", 10.0)
    answers.give("a:1", OK)
    other = open_relay()
    for _ in range(3):
        probe(stage, other)
    other.drain()
    assert (stage.breaker(), stage.rows()) == ("closed", [])
    assert answers.accepted == ["a:1", "a:2", "a:3"][row[2] == "dead" :]
    assert [dead_letter[3] for dead_letter in stage.dead_letters()] == [3] * (row[2] == "dead")


@pytest.mark.parametrize(
    "answer", [NO, cut, respond(404)], ids=["failed", "without an answer", "refused"]
)
def test_five_days_of_nothing_but_failures_disable_by_a_probe_too(
    stage: PushStage, relay: PushRelay, answer: Reaction
) -> None:
    answers = alone(stage, relay)
    answers.give("a:1", answer)
    stage.db.execute(FAILING_FOR_DAYS)
    probe(stage, relay)
    assert one(stage.db, PAUSED)
    assert [key for key, _, _ in stage.rows()] == ["a:1", "a:2", "a:3"]


def test_the_cursors_of_a_subscription_are_probed_in_turn(
    stage: PushStage, relay: PushRelay
) -> None:
    """What is never answered in the first does not keep the others from closing the breaker."""
    stage.subscribe(breaker=OPENS_AT_TWO)
    stage.receiver.react = cut
    stage.publish("a:1", priority=1)
    stage.publish("b:1", priority=2)
    relay.drain()
    assert stage.breaker() == "open"
    stage.publish("c:1", priority=5)
    stage.receiver.react = Answers().give("a:1", cut).give("b:1", cut)
    stage.receiver.requests.clear()
    for _ in range(3):
        probe(stage, relay)
    assert (stage.keys(), stage.breaker()) == (["a:1", "b:1", "c:1"], "closed")


def test_the_shards_of_a_subscription_are_probed_in_turn(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(breaker={"minimum": 16, "cool_down_seconds": 600}, shards=8)
    stage.receiver.react = cut
    stage.publish(*(f"g{number}:1" for number in range(40)))
    for _ in range(8):
        relay.round()
    assert stage.breaker() == "open"
    shards = stage.count("select count(distinct cursor_id) from outbox.delivery")
    stage.receiver.requests.clear()
    for _ in range(shards):
        probe(stage, relay)
    probed = """
        select count(distinct d.cursor_id) from outbox.delivery d
        join outbox.message m on m.id = d.message_id where m.idempotency_key = any (%s)
    """
    assert one(stage.db, probed, stage.keys()) == shards


def test_a_group_behind_a_probe_that_died_comes_in_order(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log's next message dies by one refusal; what follows it in the log is its group's."""
    monkeypatch.setattr(runs, "FRESH_PROBES", 1.0)
    answers = alone(stage, relay, client_errors="dead_letter")
    answers.give("b:1", respond(422))
    stage.publish("b:1", "b:2", "b:3")
    probe(stage, relay)
    assert stage.dead_letters() == [("b:1", "http_422", None, 1, False, False)]
    answers.give("a:1", OK)
    probe(stage, relay)
    relay.drain()
    assert [key for key in answers.accepted if key[0] == "b"] == ["b:2", "b:3"]
    assert [key for key in answers.accepted if key[0] == "a"] == ["a:1", "a:2", "a:3"]
