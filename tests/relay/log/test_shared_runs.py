"""Cursors that follow the log together: read once for all, and each as if it were alone."""

import random

import psycopg
import pytest

from relay.log import shared
from relay.log.filters import Filter
from relay.log.reading import RUN_MESSAGES, Reading
from tests.relay.log.together import SharedSink, follow, run, subscribe
from tests.relay.nasty_writers import Writers, inversions
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish

LATEST = """
select distinct on (cursor_id) cursor_id, n, seen::text, target::text, xmin::text, relay
from outbox.checkpoint where cursor_id = any (%s) order by cursor_id, n desc
"""


DEAD_LETTER = """
insert into outbox.dead_letter
    (subscription_id, cursor_id, message_id, priority, channel, type, group_key, idempotency_key,
     headers, content_type, payload, created_at, reason, detail, attempts)
select s.id, c.id, m.id, m.priority, m.channel, m.type, m.group_key, m.idempotency_key, m.headers,
       m.content_type, m.payload, m.created_at, 'MSG', 'too large', 1
from outbox.subscription s join outbox.cursor c on c.subscription_id = s.id
cross join outbox.message m
where s.name = %s and c.priority = 3 and m.id = %s
returning id
"""


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Reading]:
    """Those that were made."""
    made: list[Reading] = []

    class Counted(Reading):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(shared, "Reading", Counted)
    return made


def test_a_message_for_ten_is_read_once_and_comes_to_each(
    db: Session, together: Relay, sink: SharedSink, readings: list[Reading]
) -> None:
    names = [f"s{n}" for n in range(10)]
    subscribe(db, *names)
    follow(db, together, sink)
    written = [publish(db, "a"), publish(db, "b")]
    readings.clear()
    ran = run(together)
    assert sink.taken == {name: written for name in names}
    assert (len(readings), sink.pages) == (1, 1)
    assert all(one.progressed and one.exhausted and not one.alone for one in ran.values())


def test_the_checkpoints_of_a_run_are_one_statement_and_stand_at_one_place(
    db: Session, together: Relay
) -> None:
    subscribe(db, "a", "b")
    publish(db)
    run(together)
    # This one begins behind what the others have done.
    subscribe(db, "c")
    publish(db)
    cursors = [cursor.id for cursor in together.probe()]
    assert len(cursors) == 3
    run(together)
    latest = db.execute(LATEST, [cursors]).fetchall()
    assert len({seen for _, _, seen, *_ in latest}) == 1
    assert len({transaction for *_, transaction, _ in latest}) == 1
    assert [target for _, _, _, target, *_ in latest] == [None] * 3
    assert together.probe() == []


def test_each_gets_what_it_wants_and_nothing_else(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "all")
    subscribe(db, "parcels", channels=["parcels"])
    subscribe(db, "both", channels=["parcels", "orders"], types=["sent"])
    subscribe(db, "tests", channels=["outbox.test"], types=["sent"])
    order = publish(db, "a", channel="orders")
    parcel = publish(db, "a", channel="parcels")
    sent = one(db, "select outbox.publish('parcels', 'sent', '{}')")
    run(together)
    assert sink.taken == {
        "all": [order, parcel, sent],
        "parcels": [parcel, sent],
        "both": [sent],
        "tests": [],
    }


def test_priorities_and_shards_of_one_run_stay_apart(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a")
    db.execute("insert into outbox.subscription (name, shards) values ('wide', 4)")
    low = [publish(db, f"g{n}", priority=4) for n in range(20)]
    high = [publish(db, f"g{n}", priority=1) for n in range(20)]
    run(together)
    assert sink.taken["a"] == high + low
    assert sorted(sink.taken[""]) == sorted(high + low)


WIDE = """
insert into outbox.subscription (name, shards, types, settings)
values (%(name)s, 20, %(types)s, jsonb_build_object('topic_prefix', %(name)s || '.'))
"""


# How many messages each shard of a subscription had by its latest checkpoint, and how many it has.
TAKEN_BY_SHARD = """
select c.shard, latest.messages,
       (select count(*) from outbox.message m where outbox.shard_of(m.group_key, m.id, 20) = c.shard
        and m.id > %s and m.type = 'event')
from outbox.subscription s join outbox.cursor c on c.subscription_id = s.id
cross join lateral (
    select messages from outbox.checkpoint where cursor_id = c.id order by n desc limit 1
) latest
where s.name = 'b' and c.priority = 3
"""


def test_what_the_shards_of_several_want_is_read_once_and_each_gets_its_own(
    db: Session, together: Relay, sink: SharedSink, readings: list[Reading]
) -> None:
    for name, types in (("a", None), ("b", ["event"]), ("c", ["sent"])):
        db.execute(WIDE, {"name": name, "types": types})
    subscribe(db, "d")
    follow(db, together, sink)
    before = one(db, "select max(id) from outbox.message")
    written = [publish(db, f"g{n}") for n in range(100)]
    sent = one(db, "select outbox.publish('parcels', 'sent', '{}')")
    readings.clear()
    cursors = together.probe()
    assert len(cursors) == 61
    together.run_together(cursors)
    assert len(readings) == 2
    assert {name: sorted(ids) for name, ids in sink.taken.items()} == {
        "a": [*written, sent],
        "b": written,
        "c": [sent],
        "d": [*written, sent],
    }
    by_shard = db.execute(TAKEN_BY_SHARD, [before]).fetchall()
    assert len(by_shard) == 20
    assert all(taken == wanted for _, taken, wanted in by_shard)


def test_what_one_has_had_and_another_has_not_comes_once_to_each(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    """With messages that commit late, and where one was cut off in the middle."""
    subscribe(db, "a", "b", "c")
    follow(db, together, sink)
    with psycopg.connect(together.settings.database_url) as late:
        written = [publish(late), *(publish(db) for _ in range(4))]
        by_name = {one.subscription: one for one in together.probe()}
        for name, limit in (("a", RUN_MESSAGES), ("b", 2)):
            together.run_together([by_name[name]], limit)
        late.commit()
        written += [publish(late), *(publish(db) for _ in range(3))]
        late.commit()
    assert (sink.taken["a"], sink.taken["b"]) == (written[1:5], written[1:3])
    while together.probe():
        run(together)
    assert sink.taken == {
        "a": [*written[1:5], written[0], *written[5:]],
        "b": [*written[1:5], written[0], *written[5:]],
        "c": written,
    }


def test_what_stops_one_stops_no_other(db: Session, together: Relay, sink: SharedSink) -> None:
    subscribe(db, "a", "b")
    written = [publish(db) for _ in range(3)]
    sink.stops = {"a": written[1]}
    ran = run(together)
    assert (ran["a"].alone, ran["b"].alone) == (True, False)
    assert sink.taken == {"a": written[:1], "b": written}
    sink.stops = {}
    run(together)
    assert sink.taken["a"] == written


def test_a_redriven_dead_letter_a_replay_and_a_channel_that_waits_go_alone(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "redriven", "waiting", "replayed", "simple")
    message = publish(db)
    run(together)
    dead_letter_of(db, "redriven", message)
    db.execute("select outbox.replay('replayed', from_time => '-infinity')")
    db.execute(
        "insert into outbox.cursor (subscription_id, shard, priority, channel, waiting_since,"
        " waiting_reason) select id, 0, 3, 'parcels', now(), 'missing' from outbox.subscription"
        " where name = 'waiting'"
    )
    publish(db)
    ran = run(together)
    assert {name for name, one in ran.items() if one.alone} == {"redriven", "waiting", "replayed"}
    assert ran["simple"].progressed


def dead_letter_of(db: Session, subscription: str, message_id: int) -> None:
    """One that is on its way again."""
    dead_letter = one(db, DEAD_LETTER, subscription, message_id)
    db.execute("select outbox.redrive(array[%s::bigint])", [dead_letter])


@pytest.mark.parametrize("channels", [None, [], ["orders"], ["orders", "outbox.events"]])
@pytest.mark.parametrize("types", [None, [], ["paid"], ["paid", "outbox"]])
def test_python_and_sql_agree_on_what_is_wanted(
    db: Session, channels: list[str] | None, types: list[str] | None
) -> None:
    asked = Filter.of(channels, types)
    for channel in ("orders", "order", "outbox.events", "outbox", "outboxes"):
        for type_ in ("paid", "outbox", "other"):
            wanted = one(db, "select outbox.wants(%s, %s, %s, %s)", channels, types, channel, type_)
            assert asked.wants(channel, type_) == wanted


def test_no_more_than_its_limit_goes_of_each_place(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    written = [publish(db) for _ in range(7)]
    ran = together.run_together(together.probe(), limit=5)
    assert not any(one.exhausted for one in ran.values())
    together.run_together(together.probe(), limit=RUN_MESSAGES)
    assert sink.taken == {"a": written, "b": written}


@pytest.mark.long
def test_wherever_they_stand_each_gets_all_of_its_own_once_and_in_order(
    db: Session, together: Relay, sink: SharedSink, far: None
) -> None:
    """Any of them run together, cut off anywhere, beside writers that do whatever they may."""
    chance = random.Random(20_261_129)
    subscribe(db, "a", "b", "c")
    subscribe(db, "d", "e", "f", types=["step"])
    db.execute(WIDE, {"name": "wide", "types": None})
    with Writers(together.settings.database_url, count=6, commits=150) as writers:
        while not writers.done or together.probe():
            if cursors := together.probe():
                some = chance.sample(cursors, chance.randint(1, len(cursors)))
                together.run_together(some, chance.choice((1, 3, 20, 200)))
    assert writers.faults == []
    rows = db.execute("select id, idempotency_key from outbox.message").fetchall()
    log = {found: key for found, key in rows}
    steps = {found for found, key in log.items() if not key.startswith("-")}
    for name, ids in sink.taken.items():
        assert len(ids) == len(set(ids))
        assert set(ids) == (log.keys() if name in ("a", "b", "c", "wide") else steps)
        assert inversions(log[one] for one in ids) == []
