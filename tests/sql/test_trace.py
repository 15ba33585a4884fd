"""outbox.trace says what became of a message, and tells what is known from what is not."""

from datetime import datetime
from typing import LiteralString

import pytest

from tests.sql.conftest import Open
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
from tests.sql.traced import attempt, place, state, trace


def of_message(db: Session, message_id: int) -> str:
    found: str = one(db, "select state from outbox.trace_message(%s)", message_id)
    return found


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
