"""Rows that hold several attempts: what fits into one, and what is read to find an attempt."""

from typing import Any, LiteralString

import pytest
from psycopg import errors

from service.platform.deliveries import attempts
from tests.sql.log import Session, one

INSERT: LiteralString = """
    insert into outbox.attempt_log (subscription_id, message_id, last_message_id, idempotency_key,
        number, duration_seconds, relay, more_messages, more_at, more_durations, more_keys)
    values (1, 1, %s, 'key', 1, 0.1, 'relay', %s::smallint[], %s::integer[], %s::real[],
            %s::text[])
"""


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(list(range(1, 33)), id="33 attempts"),
        pytest.param([1000], id="too far apart"),
    ],
)
def test_what_would_have_anothers_id_or_not_be_found_is_refused(
    db: Session, messages: list[int]
) -> None:
    others = [0] * len(messages)
    with pytest.raises(errors.CheckViolation):
        db.execute(INSERT, [1 + messages[-1], messages, others, others, ["k"] * len(messages)])


# Of each 64 messages the first 32 share a row, and 32 more attempts at the first have rows of their
# own; for each of 20 subscriptions.
MESSAGES = 8_000
SUBSCRIBE: LiteralString = """
    select outbox.subscribe('s' || n, 'orders', 'https://h.example/') from generate_series(1, 20) n
"""
FILL: LiteralString = """
    insert into outbox.attempt_log (subscription_id, message_id, last_message_id, idempotency_key,
        number, duration_seconds, relay, more_messages, more_at, more_durations, more_keys)
    select subscription.id, place * 64, case more.there when 1 then place * 64 + 31 end,
           gen_random_uuid(), 1, 0.1, 'relay', offsets, offsets, offsets, keys
    from generate_series(0, %s / 64) as place
    cross join outbox.subscription
    cross join generate_series(1, 33) as more (there)
    left join lateral (
        select array_agg(n::smallint) as offsets, array_agg(gen_random_uuid()::text) as keys
        from generate_series(1, 31) as n
    ) as further on more.there = 1
    where subscription.kind = 'http'
    order by place
"""


@pytest.fixture
def filled(db: Session) -> Session:
    """A log of many attempts; analysed."""
    db.execute(SUBSCRIBE)
    db.execute(FILL, [MESSAGES])
    db.execute("vacuum analyze outbox.attempt_log")
    return db


def buffers(db: Session, statement: LiteralString, **given: int | None) -> int:
    """How many pages a list touches, planned for what it was given."""
    nothing = dict.fromkeys(("subscription_id", "message_id", "visible"))
    parameters: dict[str, Any] = {**nothing, "before": 2**63 - 1, "rows": 51, **given}
    with db.transaction():
        db.execute("select set_config('plan_cache_mode', 'force_custom_plan', true)")
        explain = b"explain (analyze, buffers, format json) " + statement.encode()
        ((plans,),) = db.execute(explain, parameters).fetchall()
    root = plans[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


def test_a_page_of_attempts_reads_few_pages_wherever_it_begins(filled: Session) -> None:
    subscription = one(filled, "select max(id) from outbox.subscription")
    middle = one(
        filled, "select percentile_disc(0.5) within group (order by id) from outbox.attempt"
    )
    for before in (2**63 - 1, middle):
        # A descent of the index in each partition, and the rows of one page.
        of_one = buffers(
            filled, attempts.OF_SUBSCRIPTIONS, subscription_id=subscription, before=before
        )
        assert of_one <= 200
        # The same for each of twenty, and their rows together.
        assert buffers(filled, attempts.OF_SUBSCRIPTIONS, before=before) <= 20 * 20 + 200


@pytest.mark.parametrize(
    ("message", "made"),
    [
        pytest.param(64 * 60, 20 * 33, id="first of its row, and alone"),
        pytest.param(64 * 60 + 17, 20, id="further on in its row"),
        pytest.param(64 * 60 + 40, 0, id="between two rows"),
        pytest.param(10**12, 0, id="never logged"),
    ],
)
def test_the_attempts_at_a_message_are_found_by_indexes(
    filled: Session, message: int, made: int
) -> None:
    assert one(filled, "select count(*) from outbox.attempts_at(%s)", message) == made
    # A few pages for each of them, and those of the indexes.
    assert buffers(filled, attempts.OF_MESSAGE, message_id=message) <= 5 * made + 50
