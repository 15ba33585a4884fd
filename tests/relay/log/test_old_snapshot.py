"""A session that holds an old snapshot slows no reader: the relay leaves no dead rows behind."""

import psycopg
import pytest

from relay.log.claim import POSITION
from relay.log.probe import PROBE
from tests.eventually import eventually
from tests.relay.conftest import Open
from tests.relay.plans import explain
from tests.relay.recording import Relay
from tests.sql.log import Session, cursor_id, publish

FILL = """
    insert into outbox.message (channel, type, group_key, idempotency_key, payload)
    select 'orders', 'event', 'g' || n %% 100, 'fill-' || n, '{}' from generate_series(1, %s) as n
"""
RUNS = 300
LOOKS = 5
# An index may grow a level meanwhile.
SLACK_BUFFERS = 20
DEAD_ROWS = """
    select sum(n_tup_ins)::bigint, sum(n_tup_upd + n_tup_del + n_dead_tup)::bigint
    from pg_stat_user_tables where relid in (
        select inhrelid from pg_inherits where inhparent = 'outbox.message'::regclass)
"""


@pytest.fixture
def old_snapshot(open_session: Open, db: Session) -> Session:
    """A session whose snapshot is from before everything."""
    holder = open_session()
    holder.execute("begin isolation level repeatable read")
    holder.execute("select from outbox.message")
    return holder


def reads(db: Session) -> dict[str, int]:
    """The pages that an idle probe and the start of a run touch.

    The fewest of several looks: each transaction of other databases that is open costs some.
    """
    cursors = [cursor_id(db)]
    probes = [explain(db, PROBE, {"subscription": None, "waiting": False}) for _ in range(LOOKS)]
    positions = [explain(db, POSITION, {"cursors": cursors, "known": []}) for _ in range(LOOKS)]
    return {
        "probe": min(plan.buffers for plan in probes),
        "position": min(plan.buffers for plan in positions),
    }


def test_probe_and_position_stay_flat_over_hundreds_of_runs(
    old_snapshot: Session, db: Session, relay: Relay
) -> None:
    # Once before the first look, so that every index has the levels that it needs.
    for _ in range(2):
        before = reads(db)
        db.execute(FILL, [RUNS * 7])
        assert len(relay.drain(limit=7)) == RUNS * 7
    assert len(relay.sink.runs) >= 2 * RUNS

    def flat() -> None:
        after = reads(db)
        assert all(after[name] <= before[name] + SLACK_BUFFERS for name in before), (before, after)

    # What others have open ends; what a relay had left behind would stay.
    eventually(flat)
    assert old_snapshot.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_the_relay_leaves_no_dead_rows_in_the_log(
    old_snapshot: Session, open_session: Open, db: Session, relay: Relay
) -> None:
    writer = open_session()
    writer.execute(FILL, [500])
    for _ in range(20):
        publish(writer, "a")
        relay.drain()
    writer.close()
    relay.connection.close()

    def flushed() -> None:
        db.execute("select pg_stat_clear_snapshot()")
        assert db.execute(DEAD_ROWS).fetchone() == (520, 0)

    eventually(flushed)
