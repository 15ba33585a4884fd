"""A subscription that is set back gets everything again, marked, and loses nothing."""

from collections.abc import Iterable

import pytest

from relay.database import connect
from relay.kafka.runs import KafkaRuns
from relay.log.message import REPLAYED, Row
from relay.log.probe import probe
from relay.log.sink import Outcome
from relay.monitoring.telemetry import Telemetry
from tests.receiver import OK, respond
from tests.relay.operating import settings
from tests.relay.plans import entries_taken
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage
from tests.relay.recording import RecordingSink, arrival
from tests.sql.log import Session, begin_delta, one, pass_everything, pending, publish

FIRST = "select min(id) from outbox.message where idempotency_key = %s"
REPLAY = "select outbox.replay(%s, from_message_id => %s, dry_run => %s)"


def replay(stage: PushStage, name: str, key: str, *, dry_run: bool = False) -> int:
    """From the message with this key on."""
    return replay_from(stage, name, one(stage.db, FIRST, key), dry_run=dry_run)


def replay_from(stage: PushStage, name: str, first: int, *, dry_run: bool = False) -> int:
    number: int = one(stage.db, REPLAY, name, first, dry_run)
    return number


def marked(stage: PushStage) -> list[tuple[str, bool]]:
    """What came, and whether it said that it was a replay."""
    return [
        (request.header("idempotency-key"), "replayed" in request.headers)
        for request in stage.receiver.requests
    ]


def test_a_replay_sends_again_what_was_done_marked_and_with_its_first_keys(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2", "a:3")
    relay.drain()
    stage.receiver.requests.clear()
    assert replay(stage, "billing", "a:2") == 2
    stage.publish("a:4")
    relay.drain()
    assert marked(stage) == [("a:2", True), ("a:3", True), ("a:4", False)]


def test_a_dry_run_counts_and_does_nothing(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2", "a:3")
    relay.drain()
    assert replay(stage, "billing", "a:2", dry_run=True) == 2
    assert relay.probe() == []


def test_a_replay_from_a_time_begins_with_what_was_written_then(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1")
    now = one(stage.db, "select clock_timestamp()")
    stage.publish("a:2")
    relay.drain()
    stage.receiver.requests.clear()
    assert one(stage.db, "select outbox.replay('billing', from_time => %s)", now) == 1
    relay.drain()
    assert marked(stage) == [("a:2", True)]


def test_a_replay_keeps_what_was_pending_and_marks_none_of_it(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1")
    relay.drain()
    stage.publish("b:1", "b:2")
    stage.receiver.requests.clear()
    # From behind what is pending: that comes all the same.
    assert replay(stage, "billing", "b:2") == 1
    relay.drain()
    assert marked(stage) == [("b:1", False), ("b:2", False)]


def test_a_replay_leaves_retries_and_their_attempts_as_they_are(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = answers = Answers().give("a:2", respond(500), OK)
    stage.publish("a:1", "a:2", "a:3", "b:1")
    relay.drain()
    replay(stage, "billing", "a:1")
    relay.drain()
    rows = {key: (attempts, state) for key, attempts, state in stage.rows()}
    assert rows["a:2"] == (1, "retry")
    stage.let_time_pass()
    relay.drain()
    assert stage.rows() == []
    first = list(dict.fromkeys(answers.accepted))
    assert [key for key in first if key[0] == "a"] == ["a:1", "a:2", "a:3"]
    assert answers.accepted.count("b:1") == 2


def test_a_replayed_message_that_fails_beside_the_head_of_its_group_is_tried_again(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("a:2", respond(500))
    stage.publish("a:1", "a:2")
    relay.round()
    stage.db.execute("update outbox.delivery set due_at = due_at + interval '1 hour'")
    replay(stage, "billing", "a:1")
    relay.drain()
    assert stage.rows() == [("a:1", 0, "behind"), ("a:2", 1, "retry")]
    # Of the two, the one that was there first goes first.
    answers.give("a:1", respond(500), OK).give("a:2", OK)
    stage.let_time_pass()
    relay.drain()
    assert (answers.accepted, stage.rows()) == (["a:1", "a:2", "a:1"], [])


def test_a_replay_of_one_subscription_sends_nothing_to_another(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe("billing")
    stage.subscribe("other")
    stage.publish("a:1")
    relay.drain()
    replay(stage, "billing", "a:1")
    relay.drain()
    assert stage.receiver.counts() == {"/billing": 2, "/other": 1}


KEPT_REPLAYS = "select count(*) from outbox.replay"
TRIM = "select outbox.trim_replays()"


def test_who_replays_again_and_again_leaves_no_more_behind_than_once(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2", "a:3")
    relay.drain()
    stage.publish("a:4")
    stage.receiver.requests.clear()
    replay(stage, "billing", "a:2")
    once = one(stage.db, KEPT_REPLAYS)
    for key in ("a:3", "a:1", "a:2", "a:1"):
        replay(stage, "billing", key)
    assert one(stage.db, KEPT_REPLAYS) == once
    relay.drain()
    assert marked(stage) == [("a:1", True), ("a:2", True), ("a:3", True), ("a:4", False)]


def test_replays_of_which_something_has_gone_are_marked_and_leave_few_behind(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2")
    relay.drain()
    stage.publish("a:3", "a:4")
    stage.receiver.requests.clear()
    for limit in (1, 2, 3, 3, 3):
        replay(stage, "billing", "a:1")
        relay.round(limit)
    replay(stage, "billing", "a:1")
    # What was done before the first of them, and what since.
    assert one(stage.db, KEPT_REPLAYS) == 2
    relay.drain()
    came = marked(stage)
    assert came.index(("a:3", False)) < came.index(("a:3", True))
    assert [(key, again) for key, again in came if not again] == [("a:3", False), ("a:4", False)]
    assert came[-4:] == [("a:1", True), ("a:2", True), ("a:3", True), ("a:4", False)]


def test_the_marks_of_a_replay_go_when_it_is_over_and_not_before(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2")
    relay.drain()
    stage.receiver.requests.clear()
    replay(stage, "billing", "a:1")
    relay.round(1)
    assert one(stage.db, TRIM) == 0
    relay.drain()
    assert marked(stage) == [("a:1", True), ("a:2", True)]
    assert (one(stage.db, TRIM), one(stage.db, KEPT_REPLAYS)) == (1, 0)


class MarkingSink(RecordingSink):
    """Remembers the keys that were marked as replayed."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: list[str] = []

    def take(self, rows: Iterable[Row]) -> Outcome:
        kept = list(rows)
        self.marked += [arrival(row).idempotency_key for row in kept if row[-1] & REPLAYED]
        return super().take(kept)


def test_a_replay_into_kafka_marks_what_was_done(stage: PushStage) -> None:
    stage.db.execute("insert into outbox.subscription (name) values ('topics')")
    relay_settings = settings(stage.database_url, RELAY_NAME="topics")
    sink = MarkingSink()
    with connect(relay_settings) as connection:
        runs = KafkaRuns(connection, sink, relay_settings, Telemetry())

        def drain() -> None:
            while cursors := probe(connection, "topics"):
                for cursor in cursors:
                    runs.run([cursor], 100, again=False)

        stage.publish("a:1", "a:2")
        drain()
        assert replay(stage, "topics", "a:2") == 1
        stage.publish("a:3")
        drain()
    assert [one.idempotency_key for one in sink.arrivals] == ["a:1", "a:2", "a:2", "a:3"]
    assert sink.marked == ["a:2"]


def test_a_redriven_dead_letter_that_a_replay_brought_to_its_death_again_can_still_arrive(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(client_errors="dead_letter", retry=LATER)
    stage.receiver.react = answers = Answers().give(":1", respond(422))
    stage.publish(":1")
    relay.drain()
    stage.db.execute("select outbox.redrive(%s)", [stage.dead_letter_ids()])
    stage.db.execute("update outbox.delivery set due_at = clock_timestamp() + interval '1 h'")
    stage.db.execute(
        "select outbox.replay('billing', from_message_id => min(id)) from outbox.message"
    )
    relay.drain()
    answers.give(":1", OK)
    stage.let_time_pass()
    relay.drain()
    ((_, _, _, _, redriven, delivered),) = stage.dead_letters()
    assert (stage.rows(), redriven, delivered) == ([], True, True)


CURSORS = """
    select cursor.id from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where name = %s order by cursor.id
"""
CHANNEL_CURSOR = """
    with made as (
        insert into outbox.cursor (subscription_id, shard, priority, channel)
        select id, shard, priority, channel
        from outbox.subscription, generate_series(0, shards - 1) as shard,
             generate_series(1, 5) as priority, unnest(array['first', 'second']) as channel
        where name = 'wide'
        returning id
    )
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select id, 1, pg_current_snapshot(), 'test' from made
"""
LOGGED = 1000


@pytest.mark.parametrize("state", ["done", "pending"])
def test_a_replay_reads_the_log_once_for_each_priority_however_many_cursors_there_are(
    db: Session, state: str
) -> None:
    """A cursor for each of 32 shards and five priorities, and of two channels of each.

    On a log of its own: an index keeps the entries of rows that are deleted.
    """
    db.execute("insert into outbox.subscription (name, shards) values ('wide', 32)")
    db.execute(CHANNEL_CURSOR)
    for number in range(LOGGED):
        channel = ("orders", "first", "second")[number % 3]
        publish(db, f"g{number % 100}", channel=channel, priority=number % 5 + 1)
    if state == "done":
        pass_everything(db)
    first = one(db, "select min(id) + 3 from outbox.message")
    with db.transaction(force_rollback=True):
        before = entries_taken(db)
        replayed = one(db, REPLAY, "wide", first, False)
        taken = entries_taken(db) - before
    assert replayed == LOGGED - 3
    # Before that, what was written since the oldest transaction that a cursor saw in progress is
    # looked through by an index: up to the whole log, where another test's is that old.
    assert LOGGED - 3 <= taken <= 2 * LOGGED + 20


def test_a_replay_of_many_cursors_sets_each_back_to_what_it_has_pending_and_no_further(
    stage: PushStage,
) -> None:
    """Some stand in the middle of a delta, some between two; some are channel cursors."""
    db = stage.db
    db.execute("insert into outbox.subscription (name, shards) values ('wide', 3)")
    db.execute(CHANNEL_CURSOR)
    cursors = [cursor for (cursor,) in db.execute(CURSORS, ["wide"]).fetchall()]
    logged: list[int] = []

    def log_more(messages: int) -> None:
        for number in range(messages):
            channel = ("orders", "first", "second")[number % 3]
            group = f"g{number % 17}"
            logged.append(publish(db, group, channel=channel, priority=number % 2 + 1))

    def all_pending() -> dict[int, set[int]]:
        return {cursor: set(pending(db, cursor)) for cursor in cursors}

    log_more(120)
    own = all_pending()
    for number, cursor in enumerate(cursors):
        if number % 3 == 0:
            pass_everything(db, cursor)
        elif number % 3 == 1:
            begin_delta(db, cursor, logged[number])
    log_more(60)
    before = all_pending()
    own = {cursor: own[cursor] | before[cursor] for cursor in cursors}
    assert sum(map(len, own.values())) == len(logged)
    first = logged[-80]
    assert replay_from(stage, "wide", first) == 80
    after = all_pending()
    for cursor in cursors:
        back_to = min({first} | before[cursor])
        assert after[cursor] == {one for one in own[cursor] if one >= back_to}
