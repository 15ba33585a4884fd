"""After a failover what waits for endpoints, and what comes then, goes on at the new primary."""

import time
from collections.abc import Callable

import pytest
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.pair import Pair
from tests.receiver import OK, Receiver, respond
from tests.relay.push.stage import ALLOWED, SUBSCRIBE, keys
from tests.relay.stage import Stage

pytestmark = pytest.mark.long

SETTINGS = {"retry": {"schedule_seconds": [1] * 50, "jitter": 0}, "breaker": {"minimum": 1000}}
INSERT = """
insert into outbox.message (channel, type, group_key, idempotency_key, payload)
select 'orders', 'order.paid', 'g' || n %% 5, %s || n, '{}' from generate_series(1, 20) as n
"""
UNDELIVERED = """
select (select sum(messages) from outbox.subscription_backlog where subscription = 'billing'),
       (select count(*) from outbox.delivery)
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("lose", [Pair.fence, Pair.demote], ids=["read_only", "recovery"])
def test_retries_and_new_messages_go_within_seconds(
    pair: Pair,
    stage: Stage,
    lose: Callable[[Pair], None],
    record_property: Callable[[str, object], None],
) -> None:
    with Receiver(respond(503)) as receiver:
        stage.execute(
            SUBSCRIBE, "billing", f"{receiver.url}/billing", Jsonb(SETTINGS), None, 2, None
        )
        stage.relay(**ALLOWED)
        stage.execute(INSERT, "before-")
        # Each group's first message has failed and waits.
        eventually(lambda: receiver.wait(5), 30)
        if lose is Pair.demote:
            pair.switch()
            lose(pair)
        else:
            lose(pair)
            pair.switch()
        receiver.react = OK
        pair.promote()
        promoted_at = time.monotonic()
        stage.execute(INSERT, "after-")

        def all_delivered() -> None:
            assert stage.query(UNDELIVERED) == [(0, 0)]

        eventually(all_delivered, 30)
        record_property("seconds_from_the_promotion", round(time.monotonic() - promoted_at, 1))
        numbers = range(1, 21, 5)
        expected = [f"before-{n}" for n in numbers] + [f"after-{n}" for n in numbers]
        came = dict.fromkeys(keys(receiver.requests))
        assert [key for key in came if key in expected] == expected
