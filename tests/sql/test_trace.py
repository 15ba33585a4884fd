"""outbox.trace says what became of a message, and tells what is known from what is not."""

from datetime import datetime
from typing import Any, LiteralString

import pytest
from psycopg import errors
from psycopg.rows import dict_row

from tests.sql.conftest import Member, Open
from tests.sql.log import (
    Session,
    begin_delta,
    cursor_id,
    dead_letter,
    let_days_pass,
    one,
    pass_everything,
    publish,
    publish_own,
    turn,
)
from tests.sql.test_views import set_aside

Place = dict[str, Any]


def trace(db: Session, message_id: int) -> dict[str, Place]:
    """What became of a message, by subscription."""
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute("select * from outbox.trace(%s)", [message_id]).fetchall()
    return {row["subscription"]: row for row in rows}


def place(db: Session, message_id: int, name: str = "kafka") -> Place:
    return trace(db, message_id)[name]


def state(db: Session, message_id: int, name: str = "kafka") -> str:
    found: str = place(db, message_id, name)["state"]
    return found


def of_message(db: Session, message_id: int) -> str:
    found: str = one(db, "select state from outbox.trace_message(%s)", message_id)
    return found


HTTP = """
    insert into outbox.subscription (name, kind, channels, settings)
    values ('billing', 'http', '{orders}', '{"endpoint": "https://billing.example.com/"}')
"""
ROW: LiteralString = """
    insert into outbox.delivery
        (cursor_id, message_id, group_key, attempts, due_at, token, outcome, reason)
    values (%s, %s, %s, %s, clock_timestamp() + %s::interval, %s, %s, %s)
"""


@pytest.fixture
def billing(db: Session) -> int:
    """The cursor of a new subscription `billing`, to an endpoint, of channel `orders`."""
    db.execute(HTTP)
    return cursor_id(db, name="billing")


def row(
    db: Session,
    cursor: int,
    message_id: int,
    *,
    attempts: int = 0,
    due: str | None = None,
    token: int | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    group: str | None = "g",
) -> None:
    """A row of a message that a run has passed; `due` is an interval from now."""
    db.execute(ROW, [cursor, message_id, group, attempts, due, token, outcome, reason])


def attempt(
    db: Session, message_id: int, number: int = 1, *, error: str | None = None, status: int = 204
) -> None:
    db.execute(
        """
        insert into outbox.attempt_log
            (subscription_id, message_id, idempotency_key, number, duration_seconds, status, error,
             relay)
        select id, %s, 'k', %s, 0.5, %s, %s, 'relay-1' from outbox.subscription
        where name = 'billing'
        """,
        [message_id, number, status, error],
    )


# What waits in the log.


def test_of_what_waits_in_the_log_it_counts_how_many_are_before_it(db: Session) -> None:
    first, second, third = (publish(db) for _ in range(3))
    assert state(db, first) == "waiting"
    ahead = [place(db, message)["queue"]["ahead"] for message in (first, second, third)]
    assert ahead == [0, 1, 2]


def test_before_it_are_those_that_the_subscription_wants_and_no_others(db: Session) -> None:
    db.execute("update outbox.subscription set types = '{event}'")
    publish_own(db, "outbox.events")
    db.execute("select outbox.publish('orders', 'another', '{}')")
    wanted = publish(db)
    assert place(db, publish(db))["queue"]["ahead"] == 1
    assert place(db, wanted)["queue"]["ahead"] == 0


def test_a_late_commit_goes_before_what_came_after_it(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        late = publish(writer)
        publish(db)
        pass_everything(db)
    newer = publish(db)
    assert (state(db, late), place(db, newer)["queue"]["ahead"]) == ("waiting", 1)


def test_a_message_waits_at_the_cursor_of_its_priority_and_shard(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, shards) values ('wide', 4)")
    messages = [publish(db, f"group-{number}", priority=2) for number in range(20)]
    passed = cursor_id(db, 2, name="wide", shard=1)
    pass_everything(db, passed)
    found = [place(db, message, "wide") for message in messages]
    done = [one["state"] == "delivered" for one in found]
    of_shard = "select outbox.shard_of(group_key, id, 4) = 1 from outbox.message order by id"
    assert done == [is_of for (is_of,) in db.execute(of_shard)]
    assert {one["queue"]["priority"] for one in found if one["queue"]} == {2}


def test_of_a_long_backlog_it_says_that_more_are_before(db: Session) -> None:
    db.execute(
        "insert into outbox.message (channel, type, payload)"
        " select 'orders', 't', '' from generate_series(1, 25000)"
    )
    message = publish(db)
    # Each is looked at once: a look at all for each would take a minute.
    db.execute("set statement_timeout = '10s'")
    queue = place(db, message)["queue"]
    assert (queue["ahead"], queue["more"]) == (20_000, True)


# What was passed.


def test_delivered_is_what_the_snapshot_of_the_cursor_shows(
    db: Session, open_session: Open
) -> None:
    writer = open_session()
    with writer.transaction():
        late = publish(writer)
        passed = publish(db)
        pass_everything(db)
    assert (state(db, passed), state(db, late)) == ("delivered", "waiting")


def test_of_a_delta_under_way_the_beginning_is_delivered(db: Session) -> None:
    first, second = publish(db), publish(db)
    begin_delta(db, cursor_id(db), after_id=first)
    assert (state(db, first), state(db, second)) == ("delivered", "waiting")


def test_delivered_names_the_two_checkpoints_that_it_went_between_and_the_relay(
    db: Session,
) -> None:
    messages = []
    for _ in range(40):
        messages.append(publish(db))
        pass_everything(db)
    query: LiteralString = "select n, created_at from outbox.checkpoint where cursor_id = 3"
    times: dict[int, datetime] = dict(db.execute(query).fetchall())
    for number, message in enumerate(messages):
        found = place(db, message)
        passed = found["passed"]
        assert (passed["after_checkpoint"], passed["checkpoint"]) == (number, number + 1)
        assert (passed["relay"], found["since"]) == ("test", times[number + 1])


def test_where_the_checkpoints_are_trimmed_it_says_by_when_it_was_passed(db: Session) -> None:
    message = publish(db)
    for _ in range(9):
        pass_everything(db)
    db.execute("select outbox.trim_checkpoints('0', 3)")
    found = place(db, message)
    assert (found["state"], found["since"]) == ("delivered", None)
    passed = found["passed"]
    assert (passed["after_checkpoint"], passed["checkpoint"], passed["relay"]) == (None, 7, None)


def test_what_was_there_before_the_subscription_is_before_its_start(
    db: Session, open_session: Open
) -> None:
    before, writer = publish(db), open_session()
    with writer.transaction():
        open_then = publish(writer)
        db.execute("insert into outbox.subscription (name) values ('new')")
    pass_everything(db)
    db.execute("select outbox.trim_checkpoints('0', 1)")
    assert (state(db, before, "new"), state(db, open_then, "new")) == ("before_start", "delivered")


def test_what_a_subscription_was_made_with_is_not_before_its_start(db: Session) -> None:
    with db.transaction():
        message = publish(db)
        db.execute("insert into outbox.subscription (name) values ('new')")
    assert state(db, message, "new") == "waiting"


@pytest.mark.parametrize("passed", [False, True])
def test_what_the_filter_leaves_out_is_not_wanted_and_says_why(db: Session, passed: bool) -> None:
    db.execute("insert into outbox.subscription (name, channels) values ('c', '{other}')")
    db.execute("insert into outbox.subscription (name, types) values ('t', '{other}')")
    message, own = publish(db), publish_own(db, "outbox.events")
    if passed:
        pass_everything(db)
    found = trace(db, message)
    assert [(found[name]["state"], found[name]["because"]) for name in "ct"] == [
        ("not_wanted", "channels"),
        ("not_wanted", "types"),
    ]
    assert state(db, own) == "not_wanted"


def test_under_a_filter_that_was_changed_since_it_does_not_guess(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, types) values ('t', '{other}')")
    before = publish(db)
    pass_everything(db)
    db.execute("update outbox.subscription set types = '{event}' where name = 't'")
    waiting = publish(db)
    assert (state(db, before, "t"), state(db, waiting, "t")) == ("passed", "waiting")
    pass_everything(db)
    assert (state(db, before, "t"), state(db, waiting, "t")) == ("passed", "delivered")


def test_what_was_passed_while_a_change_of_the_filter_was_under_way_is_not_guessed(
    db: Session, open_session: Open
) -> None:
    db.execute("insert into outbox.subscription (name, types) values ('t', '{other}')")
    changing = open_session()
    with changing.transaction():
        changing.execute("update outbox.subscription set types = '{event}' where name = 't'")
        meanwhile = publish(db)
        pass_everything(db)
    later = publish(db)
    for _ in range(2):
        assert state(db, meanwhile, "t") == "passed"
        pass_everything(db)
        db.execute("select outbox.trim_checkpoints('0', 1)")
    assert state(db, later, "t") == "delivered"


def test_a_subscription_may_be_changed_and_deleted_in_one_transaction(db: Session) -> None:
    with db.transaction():
        db.execute("insert into outbox.subscription (name) values ('n')")
        db.execute("update outbox.subscription set types = '{event}' where name = 'n'")
        db.execute("delete from outbox.subscription where name = 'n'")
    assert set(trace(db, publish(db))) == {"kafka"}


def test_a_run_that_began_after_the_filter_was_changed_went_by_it(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, types) values ('t', '{other}')")
    waiting = publish(db)
    db.execute("update outbox.subscription set types = '{event}' where name = 't'")
    pass_everything(db)
    assert state(db, waiting, "t") == "delivered"


def test_a_channel_that_was_never_read_is_not_wanted_whatever_was_changed(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, channels) values ('c', '{a}')")
    message = publish(db)
    pass_everything(db)
    db.execute("update outbox.subscription set channels = '{b}' where name = 'c'")
    assert state(db, message, "c") == "not_wanted"


def test_a_pause_is_no_change_of_the_filter(db: Session) -> None:
    message = publish(db)
    pass_everything(db)
    db.execute("update outbox.subscription set paused = true")
    db.execute("update outbox.subscription set paused = false")
    assert state(db, message) == "delivered"


# What holds it up.


def test_what_a_pause_holds_up_says_the_reason(db: Session) -> None:
    passed = publish(db)
    pass_everything(db)
    message = publish(db)
    db.execute("update outbox.subscription set paused = true, paused_reason = 'moving'")
    found = place(db, message)
    assert (found["state"], found["because"]) == ("paused", "moving")
    assert state(db, passed) == "delivered"


def test_what_an_open_breaker_holds_up_says_when_the_next_request_goes(
    db: Session, billing: int
) -> None:
    message = publish(db)
    db.execute(
        "update outbox.breaker set failing_since = now(), opened_at = '2026-01-01 00:00Z',"
        " retry_at = '2026-01-01 01:00Z'"
    )
    found = place(db, message, "billing")
    assert found["state"] == "breaker_open"
    assert (found["since"].hour, found["next_attempt_at"].hour) == (0, 1)


def test_a_channel_that_waits_for_its_topic_is_told_with_its_reason(db: Session) -> None:
    channel_cursor = set_aside(db, cursor_id(db), "missing")
    missing, other = publish(db, channel="missing"), publish(db)
    pass_everything(db, cursor_id(db))
    found = place(db, missing)
    assert (found["state"], found["because"]) == ("channel_waiting", "unknown topic")
    assert (found["queue"]["cursor"], found["queue"]["channel"]) == (channel_cursor, "missing")
    assert state(db, other) == "delivered"


# What its run did not confirm.


def test_what_was_sent_in_vain_says_when_it_is_sent_again(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    row(db, billing, message, attempts=2, due="1 h", reason="http_503")
    attempt(db, message, 1, error="http_500", status=500)
    attempt(db, message, 2, error="http_503", status=503)
    found = place(db, message, "billing")
    due = one(db, "select due_at from outbox.delivery")
    assert (found["state"], found["because"]) == ("retrying", "http_503")
    assert found["next_attempt_at"] == due
    assert [made["status"] for made in found["attempts"]] == [503, 500]
    assert found["attempts"][0] | {"at": ""} == {
        "number": 2,
        "at": "",
        "duration_seconds": 0.5,
        "status": 503,
        "error": "http_503",
        "relay": "relay-1",
    }


def test_what_is_behind_the_head_of_its_group_names_the_head(db: Session, billing: int) -> None:
    head, second, third = (publish(db) for _ in range(3))
    pass_everything(db)
    row(db, billing, head, attempts=3, due="1 h", reason="http_503")
    row(db, billing, second)
    row(db, billing, third)
    attempt(db, head, error="http_503", status=503)
    found = place(db, third, "billing")
    assert (found["state"], found["queue"]["ahead_in_group"]) == ("waiting", 2)
    named = found["queue"]["head"]
    assert (named["message_id"], named["state"], named["attempts"]) == (head, "retrying", 3)
    assert named["tried_since"] is not None
    assert named["reason"] == "http_503"


def test_what_is_still_in_the_log_names_the_head_of_its_group(db: Session, billing: int) -> None:
    head = publish(db)
    pass_everything(db)
    row(db, billing, head, attempts=1, due="1 h")
    same, other = publish(db), publish(db, "another group")
    queue = place(db, same, "billing")["queue"]
    assert (queue["head"]["message_id"], queue["ahead"], queue["ahead_in_group"]) == (head, 0, 1)
    assert place(db, other, "billing")["queue"]["head"] is None


def test_a_request_under_way_is_in_flight_and_one_acknowledged_late_is_delivered(
    db: Session, billing: int
) -> None:
    flying, arrived = publish(db), publish(db, "another group")
    pass_everything(db)
    row(db, billing, flying, due="9 s", token=7)
    row(db, billing, arrived, due="9 s", token=8, outcome="acked", group="another group")
    assert state(db, flying, "billing") == "in_flight"
    assert state(db, arrived, "billing") == "delivered"


def test_an_acknowledged_request_says_when_it_arrived(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    attempt(db, message)
    found = place(db, message, "billing")
    at = one(db, "select at + interval '0.5 s' from outbox.attempt")
    assert (found["state"], found["since"]) == ("delivered", at)


def test_of_many_attempts_it_shows_the_latest_fifty(db: Session, billing: int) -> None:
    message = publish(db)
    for number in range(1, 61):
        attempt(db, message, number, error="http_500", status=500)
    numbers = [made["number"] for made in place(db, message, "billing")["attempts"]]
    assert numbers == list(range(60, 10, -1))


# What was given up.


def test_a_dead_letter_says_its_reason(db: Session) -> None:
    message = publish(db)
    letter = dead_letter(db, message)
    pass_everything(db)
    found = place(db, message)
    assert (found["state"], found["because"]) == ("dead_letter", "message_too_large")
    assert (found["dead_letter"]["id"], found["passed"]["checkpoint"]) == (letter, 1)


def test_a_dead_letter_that_was_redriven_is_on_its_way_and_then_delivered(db: Session) -> None:
    message = publish(db)
    pass_everything(db)
    letter = dead_letter(db, message)
    db.execute("select outbox.redrive(%s)", [[letter]])
    assert state(db, message) == "redriven"
    db.execute("update outbox.delivery set outcome = 'acked'")
    db.execute("select outbox.clear_acked(%s)", [cursor_id(db)])
    found = place(db, message)
    assert found["state"] == "delivered"
    assert found["since"] == one(db, "select delivered_at from outbox.dead_letter")


def test_a_parked_message_is_a_dead_letter_for_which_its_group_waits(
    db: Session, billing: int
) -> None:
    parked, behind = publish(db), publish(db)
    pass_everything(db)
    row(db, billing, parked, attempts=9)
    row(db, billing, behind)
    db.execute(
        "update outbox.delivery set due_at = 'infinity', reason = 'http_500' where message_id = %s",
        [parked],
    )
    assert state(db, parked, "billing") == "dead_letter"
    head = place(db, behind, "billing")["queue"]["head"]
    assert (head["message_id"], head["state"], head["due_at"]) == (parked, "parked", None)


# What is sent again.


def test_what_a_replay_sends_again_is_told_from_what_was_never_sent(db: Session) -> None:
    sent = publish(db)
    pass_everything(db)
    pending = publish(db)
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [sent])
    assert (state(db, sent), state(db, pending)) == ("replayed", "waiting")


def test_after_a_replay_the_latest_run_is_named(db: Session) -> None:
    sent = publish(db)
    pass_everything(db)
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [sent])
    pass_everything(db)
    passed = place(db, sent)["passed"]
    assert (passed["after_checkpoint"], passed["checkpoint"]) == (2, 3)


def test_what_a_replay_delivered_after_it_had_died_is_delivered(db: Session) -> None:
    message = publish(db)
    dead_letter(db, message)
    pass_everything(db)
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [message])
    assert state(db, message) == "replayed"
    pass_everything(db)
    assert state(db, message) == "delivered"


def test_what_a_replay_delivered_from_before_the_start_is_delivered(db: Session) -> None:
    message = publish(db)
    db.execute("insert into outbox.subscription (name) values ('new')")
    db.execute("select outbox.replay('new', from_message_id => %s)", [message])
    assert state(db, message, "new") == "replayed"
    pass_everything(db)
    assert state(db, message, "new") == "delivered"


# Channels that waited alone.

MERGE = "select cardinality(outbox.merge_channel_cursors(%s))"


def test_what_a_merged_channel_cursor_delivered_says_when_that_was(db: Session) -> None:
    origin = cursor_id(db)
    own = set_aside(db, origin, "orders")
    message = publish(db)
    pass_everything(db)
    db.execute("update outbox.cursor set waiting_since = null, waiting_reason = null")
    assert one(db, MERGE, origin) == 1
    found = place(db, message)
    assert found["state"] == "delivered"
    assert found["passed"]["merged_at"] is not None
    assert state(db, publish(db)) == "waiting"
    assert own != origin


def test_what_channels_did_is_forgotten_with_the_log_of_that_time(db: Session) -> None:
    origin = cursor_id(db)
    set_aside(db, origin, "a")
    pass_everything(db)
    db.execute("update outbox.cursor set waiting_since = null, waiting_reason = null")
    assert one(db, MERGE, origin) == 1
    db.execute("update outbox.channel_past set upto_time = '2020-01-01'")
    set_aside(db, origin, "b")
    pass_everything(db)
    db.execute("update outbox.cursor set waiting_since = null, waiting_reason = null")
    assert one(db, MERGE, origin) == 1
    assert db.execute("select channel from outbox.channel_past").fetchall() == [("b",)]


@pytest.mark.parametrize("merged", [False, True])
def test_what_an_operator_dropped_with_its_channel_is_not_called_delivered(
    db: Session, merged: bool
) -> None:
    origin = cursor_id(db)
    before = publish(db)
    pass_everything(db)
    set_aside(db, origin, "orders")
    message = publish(db)
    db.execute("select * from outbox.drop_channel('orders')")
    if merged:
        db.execute(
            """
            insert into outbox.checkpoint (cursor_id, n, seen, relay)
            select %(origin)s, (select max(n) + 1 from outbox.checkpoint
                                where cursor_id = %(origin)s), seen, 'test'
            from outbox.checkpoint join outbox.cursor on cursor.id = cursor_id
            where channel is not null order by n desc limit 1
            """,
            {"origin": origin},
        )
        assert one(db, MERGE, origin) == 1
    assert (state(db, message), state(db, before)) == ("dropped", "delivered")


def test_what_a_replay_sent_is_not_told_as_dropped_before_it(db: Session) -> None:
    set_aside(db, cursor_id(db), "orders")
    message = publish(db)
    db.execute("select * from outbox.drop_channel('orders')")
    db.execute("select outbox.replay('kafka', from_message_id => %s)", [message])
    pass_everything(db)
    assert state(db, message) == "delivered"
    for _ in range(9):
        pass_everything(db)
        assert state(db, message) in ("delivered", "passed")
    db.execute("select outbox.trim_checkpoints('0', 1)")
    assert state(db, message) == "passed"


# What is not there.


def test_what_retention_has_taken_is_gone_and_not_called_delivered(db: Session) -> None:
    message = publish(db)
    pass_everything(db)
    turn(db)
    let_days_pass(db, 30)
    assert one(db, "select outbox.retire_partition('message_0', 7)") == "truncated"
    assert (of_message(db, message), state(db, message)) == ("gone", "gone")
    assert one(db, "select outbox.retire_partition('message_0', 7)") == "dropped"
    assert (of_message(db, message), state(db, message)) == ("gone", "gone")


def test_of_what_is_gone_dead_letters_and_attempts_tell(db: Session, billing: int) -> None:
    message, other = publish(db), publish(db)
    letter = dead_letter(db, message)
    attempt(db, other)
    pass_everything(db)
    turn(db)
    let_days_pass(db, 30)
    assert one(db, "select outbox.retire_partition('message_0', 7)") == "truncated"
    known = db.execute("select state, channel from outbox.trace_message(%s)", [message]).fetchall()
    assert known == [("gone", "orders")]
    found = place(db, message)
    assert (found["state"], found["dead_letter"]["id"]) == ("dead_letter", letter)
    assert (state(db, other, "billing"), state(db, other)) == ("delivered", "gone")


def test_an_id_of_no_committed_message_is_told_from_one_that_was_never_drawn(
    db: Session, open_session: Open
) -> None:
    writer = open_session()
    with writer.transaction():
        open_now = publish(writer)
        assert (of_message(db, open_now), trace(db, open_now)) == ("uncommitted", {})
    assert of_message(db, open_now) == "in_log"
    assert [of_message(db, never) for never in (0, open_now + 1, 2 * 10**11, 10**17)] == [
        "undrawn"
    ] * 4


def test_after_a_rebase_nothing_is_told_by_transactions_of_the_former_cluster(
    db: Session,
) -> None:
    before = publish(db)
    db.execute("insert into outbox.subscription (name) values ('new')")
    db.execute("update outbox.subscription set types = '{event}' where name = 'new'")
    passed = publish(db)
    pass_everything(db)
    db.execute("select * from outbox.rebase()")
    assert one(db, "select xid from outbox.trace_message(%s)", passed) is None
    # By which filter it was passed there is not known any more.
    assert (state(db, before, "new"), state(db, passed, "new")) == ("before_start", "passed")
    assert state(db, passed) == "delivered"
    assert place(db, passed, "new")["passed"] is None
    later = publish(db)
    pass_everything(db)
    assert state(db, later, "new") == "delivered"


def test_after_a_rebase_no_run_of_the_former_cluster_is_named(db: Session) -> None:
    for _ in range(3):
        publish(db)
        pass_everything(db)
    db.execute(
        "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
        " select cursor_id, 4, '900000000:900000000:', 'former' from outbox.checkpoint where n = 3"
    )
    db.execute("select * from outbox.rebase()")
    message = publish(db)
    for _ in range(9):
        pass_everything(db)
        passed = place(db, message)["passed"]
        assert (passed["after_checkpoint"], passed["checkpoint"], passed["relay"]) == (5, 6, "test")


# Looking for a message without its id.

FIND: LiteralString = "select * from outbox.find_messages"


def found(db: Session, query: LiteralString, *parameters: object) -> tuple[list[int], int, bool]:
    ((ids, looked, _, more),) = db.execute(FIND + query, parameters).fetchall()
    return ids, looked, more


SPREAD = """
    insert into outbox.message (channel, type, group_key, payload, created_at, idempotency_key)
    select 'orders', 't', 'g' || n %% 7, '', timestamptz '2026-01-01 00:00Z' + n * interval '1 s',
           case when n %% 1000 = 0 then 'key-' || n else outbox.uuid7()::text end
    from generate_series(1, %s) as n
"""


def test_a_key_that_says_its_time_is_found_without_a_span(db: Session) -> None:
    db.execute(SPREAD, [5000])
    message = publish(db)
    key = one(db, "select idempotency_key from outbox.message where id = %s", message)
    ids, looked, more = found(db, "(%s)", key)
    # Those of the same seconds, and up to a hundred on either side.
    assert (ids, more) == ([message], False)
    assert looked < 300


def test_a_callers_own_key_is_found_in_a_span_of_time_by_reading_that_alone(db: Session) -> None:
    db.execute(SPREAD, [5000])
    span: LiteralString = (
        "('key-3000', from_time => '2026-01-01 00:49Z', upto_time => '2026-01-01 00:51Z')"
    )
    ids, looked, more = found(db, span)
    assert (ids, more) == ([3000], False)
    assert looked < 500
    assert found(db, "('key-3000', from_time => '2026-01-01 01:00Z')")[0] == []


def test_all_messages_with_one_key_are_found_the_newest_first(db: Session) -> None:
    twice: LiteralString = "select outbox.publish(%s, 't', '{}', idempotency_key => 'own')"
    first, second = one(db, twice, "a"), one(db, twice, "b")
    assert found(db, "('own')")[0] == [second, first]
    assert found(db, "('own', channel => 'a')")[0] == [first]


def test_it_says_where_a_span_holds_more_than_it_looks_at(db: Session) -> None:
    db.execute(SPREAD, [100_001])
    ids, looked, more = found(db, "('nobody''s')")
    assert (ids, more) == ([], True)
    assert 100_000 <= looked <= 105_000
    assert found(db, "('nobody''s', upto_time => '2026-01-01 12:00Z')")[2] is False


def test_of_a_group_those_that_wait_in_rows_come_first_however_old(
    db: Session, billing: int
) -> None:
    old, behind = publish(db), publish(db)
    pass_everything(db)
    row(db, billing, old, attempts=1, due="1 h")
    row(db, billing, behind)
    newest = [publish(db) for _ in range(12)]
    publish(db, "another group")
    assert found(db, "(group_key => 'g')")[0] == [old, behind, *newest[:3:-1]]


def test_of_a_group_what_waits_in_rows_is_of_the_given_channel(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    row(db, billing, message, attempts=1, due="1 h")
    assert found(db, "(group_key => 'g', channel => 'orders')")[0] == [message]
    assert found(db, "(group_key => 'g', channel => 'another')")[0] == []


def test_of_a_group_the_newest_come_first_whatever_their_priority(db: Session) -> None:
    oldest = [publish(db, priority=1) for _ in range(12)]
    newest = publish(db)
    assert found(db, "(group_key => 'g')")[0] == [newest, *oldest[:2:-1]]


def test_looking_takes_a_key_or_a_group(db: Session) -> None:
    for query in ("()", "('k', 'g')"):
        with pytest.raises(errors.InvalidParameterValue):
            found(db, query)


# Who may ask.


@pytest.mark.parametrize("group", ["outbox_reader", "outbox_relay", "outbox_service"])
def test_who_reads_may_trace(db: Session, member: Member, billing: int, group: str) -> None:
    message = publish(db)
    assert billing
    assert set(trace(member(group), message)) == {"kafka", "billing"}


def test_a_publisher_may_not_trace(member: Member) -> None:
    session = member("outbox_publisher")
    for query in ("trace(1)", "trace_message(1)", "find_messages('k')"):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(b"select * from outbox." + query.encode())


def test_of_given_subscriptions_it_tells_no_others(db: Session, billing: int) -> None:
    message = publish(db)
    assert billing
    rows = db.execute("select subscription from outbox.trace(%s, '{1}')", [message]).fetchall()
    assert rows == [("kafka",)]
