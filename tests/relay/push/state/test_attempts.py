"""What is logged of requests, and how much of it an endpoint can make us keep."""

from collections.abc import Callable

import pytest

from relay.push.http.answer import MAX_BODY_BYTES
from relay.push.state.attempts import KEY_BYTES, NOT_KEPT, ROW_BYTES
from tests.eventually import eventually
from tests.receiver import respond
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.relay.push.state.test_late_outcomes import in_flight
from tests.sql.log import one

OpenRelay = Callable[[], PushRelay]

MAX_BYTES = 10 * 1024 * 1024
LARGE = respond(500, b"x" * MAX_BODY_BYTES)
# What is on disk of answers, by subscription.
KEPT = """
select coalesce(sum(octet_length(answer) + octet_length(detail)), 0)::bigint
from outbox.attempt where subscription_id = %s and detail is distinct from %s
"""
# (status, error, is its answer there, detail) in the order of the attempts.
LOGGED = """
select status, error, answer is not null, detail from outbox.attempt
where subscription_id = %s order by id
"""
USE = """
update outbox.answer_budget set day = (clock_timestamp() at time zone 'UTC')::date, bytes = %s
where subscription_id = %s
"""
YESTERDAY = "update outbox.answer_budget set day = day - 1 where subscription_id = %s"


def fail(stage: PushStage, relay: PushRelay, first: int, last: int) -> None:
    """One failed attempt each for so many messages, one after the other."""
    stage.publish(*(f"g{number}:1" for number in range(first, last + 1)))
    relay.drain()


def kept(stage: PushStage, subscription_id: int) -> list[bool]:
    return [there for _, _, there, _ in stage.db.execute(LOGGED, [subscription_id]).fetchall()]


def test_an_endpoint_makes_us_keep_ten_mebibytes_a_day_and_no_more(
    stage: PushStage, relay: PushRelay
) -> None:
    billing = stage.subscribe(retry=LATER)
    stage.receiver.react = LARGE
    messages = MAX_BYTES // MAX_BODY_BYTES + 60
    fail(stage, relay, 1, messages)
    assert MAX_BYTES * 0.99 < one(stage.db, KEPT, billing, NOT_KEPT) <= MAX_BYTES
    logged = stage.db.execute(LOGGED, [billing]).fetchall()
    # What came of each request is there all the same.
    assert [row[:2] for row in logged] == [(500, "http_500")] * messages
    assert {row[3] for row in logged if not row[2]} == {NOT_KEPT}


@pytest.mark.parametrize("owner", [None, "key"])
def test_of_an_api_key_no_more_than_a_megabyte_is_kept_at_once(
    stage: PushStage, relay: PushRelay, owner: str | None
) -> None:
    """Others may wait for the transaction in which it is written; an operator's own are few."""
    billing = stage.subscribe(retry=LATER, made_by=owner, concurrency=200)
    stage.receiver.react = LARGE
    stage.publish(*(f"g{number}:1" for number in range(100)))
    (cursor,) = relay.probe()
    relay.run(cursor)
    size = one(stage.db, KEPT, billing, NOT_KEPT)
    if owner is None:
        assert size >= 100 * MAX_BODY_BYTES
    else:
        assert 0.9 * KEY_BYTES < size <= KEY_BYTES


@pytest.mark.parametrize("owner", [None, "key"])
def test_of_an_api_key_failed_attempts_are_logged_while_the_days_budget_lasts(
    stage: PushStage, relay: PushRelay, owner: str | None
) -> None:
    """With a hundred retries each at a hundred endpoints they would be ten thousand a message."""
    billing = stage.subscribe(retry=LATER, made_by=owner)
    stage.receiver.react = respond(500)
    fail(stage, relay, 1, 1)
    size = one(stage.db, "select bytes from outbox.answer_budget")
    assert size == one(stage.db, KEPT, billing, NOT_KEPT) + (ROW_BYTES if owner else 0)
    # The third is one too many.
    stage.db.execute(USE, [MAX_BYTES - 2 * size - 10, billing])
    fail(stage, relay, 2, 6)
    assert len(kept(stage, billing)) == (3 if owner else 6)
    # What is left out counts all the same.
    assert [attempts for _, attempts, _ in stage.rows()] == [1] * 6


def test_of_an_api_key_acknowledged_requests_are_logged_when_the_budget_is_used_up(
    stage: PushStage, relay: PushRelay
) -> None:
    billing = stage.subscribe(made_by="key")
    stage.db.execute(USE, [MAX_BYTES, billing])
    fail(stage, relay, 1, 3)
    assert len(kept(stage, billing)) == 3


def test_of_an_api_key_what_is_too_much_at_once_uses_up_the_budget_too(
    stage: PushStage, relay: PushRelay
) -> None:
    """Else one of its subscriptions that fills each transaction would leave it to the others."""
    billing = stage.subscribe(retry=LATER, made_by="key", concurrency=200)
    stage.receiver.react = LARGE
    stage.publish(*(f"g{number}:1" for number in range(100)))
    (cursor,) = relay.probe()
    relay.run(cursor)
    size = one(stage.db, KEPT, billing, NOT_KEPT)
    assert one(stage.db, "select bytes from outbox.answer_budget") == size + 100 * ROW_BYTES


def test_the_budget_is_one_for_all_relays_and_outlives_them(
    stage: PushStage, open_relay: OpenRelay
) -> None:
    billing = stage.subscribe(retry=LATER)
    stage.receiver.react = LARGE
    stage.db.execute(USE, [MAX_BYTES - 3 * MAX_BODY_BYTES - 500, billing])
    for number in range(1, 6):
        fail(stage, open_relay(), number, number)
    assert kept(stage, billing) == [True, True, True, False, False]


def test_a_new_day_has_a_new_budget(stage: PushStage, relay: PushRelay) -> None:
    billing = stage.subscribe(retry=LATER)
    stage.receiver.react = LARGE
    stage.db.execute(USE, [MAX_BYTES, billing])
    fail(stage, relay, 1, 1)
    stage.db.execute(YESTERDAY, [billing])
    fail(stage, relay, 2, 2)
    assert kept(stage, billing) == [False, True]


def test_each_subscription_has_a_budget_of_its_own(stage: PushStage, relay: PushRelay) -> None:
    billing, audit = stage.subscribe(retry=LATER), stage.subscribe("audit", retry=LATER)
    stage.receiver.react = LARGE
    stage.db.execute(USE, [MAX_BYTES, billing])
    fail(stage, relay, 1, 1)
    assert (kept(stage, billing), kept(stage, audit)) == ([False], [True])


@pytest.mark.parametrize("answer", [respond(500), respond(500, b"x")])
def test_small_answers_count_with_their_details(
    stage: PushStage, relay: PushRelay, answer: bytes
) -> None:
    billing = stage.subscribe(retry=LATER)
    stage.receiver.react = answer
    fail(stage, relay, 1, 1)
    on_disk = one(stage.db, KEPT, billing, NOT_KEPT)
    assert on_disk > 0
    assert one(stage.db, "select bytes from outbox.answer_budget") == on_disk


def test_acknowledged_requests_and_what_is_not_logged_use_nothing(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.subscribe("audit", attempts_log="none", retry=LATER)
    stage.receiver.react = lambda request: (
        LARGE if request.path == "/audit" else respond(200, b"x" * 1000)
    )
    fail(stage, relay, 1, 3)
    assert one(stage.db, "select sum(bytes)::bigint from outbox.answer_budget") == 0


def test_once_used_up_the_budget_is_not_written_any_more(
    stage: PushStage, relay: PushRelay
) -> None:
    billing = stage.subscribe(retry=LATER)
    stage.receiver.react = LARGE
    stage.db.execute(USE, [MAX_BYTES - 100, billing])
    fail(stage, relay, 1, 1)
    version = "select xmin::text || ctid::text from outbox.answer_budget"
    before = one(stage.db, version)
    fail(stage, relay, 2, 4)
    assert one(stage.db, version) == before
    assert kept(stage, billing) == [False] * 4


class TestLate:
    @pytest.fixture
    def patience(self) -> None:
        """None: what hangs shall outlive its run."""

    def test_answers_that_come_after_their_run_count_as_well(
        self, stage: PushStage, relay: PushRelay
    ) -> None:
        held = in_flight(stage, relay)
        stage.db.execute("update outbox.answer_budget set bytes = %s", [MAX_BYTES])
        stage.db.execute(
            "update outbox.answer_budget set day = (clock_timestamp() at time zone 'UTC')::date"
        )
        held.release(LARGE)

        def written() -> None:
            row = stage.db.execute(
                "select status, answer is null, detail from outbox.attempt"
            ).fetchone()
            assert row == (500, True, NOT_KEPT)

        eventually(written)
