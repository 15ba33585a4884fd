"""Cursors that follow the log together: read once for all, and each as if it were alone."""

import random
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

import psycopg
import pytest
from psycopg import errors

from relay.log import shared
from relay.log.cursor import Cursor, SinkSettings
from relay.log.filters import Filter
from relay.log.message import ID, Row
from relay.log.reading import CHUNK_ROWS, RUN_MESSAGES, Reading
from relay.log.run import Ran
from relay.log.sink import Outcome, Page, Stopped
from tests.relay.conftest import OpenRelay
from tests.relay.nasty_writers import Writers, inversions
from tests.relay.recording import RecordingSink, Relay
from tests.sql.log import Session, one, publish

SUBSCRIBE = """
insert into outbox.subscription (name, channels, types, settings)
values (%(name)s, %(channels)s, %(types)s, jsonb_build_object('topic_prefix', %(name)s || '.'))
"""
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
FILL = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'event', 'g' || n %% 10, '{}' from generate_series(1, %s) as n
"""


class SharedSink(RecordingSink):
    """Remembers what each taker got, by its prefix; one of them may stop before a message."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.pages = 0
        self.stops: dict[str, int] = {}

    def deliver(
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
    ) -> list[Outcome]:
        names = [taker.topic_prefix.rstrip(".") for taker in takers]
        taken: list[list[int]] = [[] for _ in takers]
        stopped: list[Stopped | None] = [None] * len(takers)
        for rows, places in pages:
            self.pages += 1
            for place in places:
                stop_id = self.stops.get(names[place])
                for row in rows:
                    if row[ID] == stop_id:
                        stopped[place] = Stopped(row[ID], alone=True)
                    if stopped[place] is None:
                        taken[place].append(row[ID])
        self.delivered()
        for name, ids in zip(names, taken, strict=True):
            self.taken[name] += ids
        return [
            Outcome(len(ids), 2 * len(ids), [0] * len(ids), [], stop, ids[-1] if ids else 0)
            for ids, stop in zip(taken, stopped, strict=True)
        ]


@pytest.fixture
def sink() -> SharedSink:
    return SharedSink()


@pytest.fixture
def together(db: Session, open_relay: OpenRelay, sink: SharedSink) -> Relay:
    """A relay on a database without a subscription."""
    db.execute("delete from outbox.subscription")
    return open_relay(sink)


def subscribe(
    db: Session,
    *names: str,
    channels: list[str] | None = None,
    types: list[str] | None = None,
) -> None:
    for name in names:
        db.execute(SUBSCRIBE, {"name": name, "channels": channels, "types": types})


def run(relay: Relay, *, again: bool = False) -> dict[str, Ran]:
    """One run of all that have work, by subscription and priority."""
    cursors = relay.probe()
    ran = relay.run_together(cursors, again=again)
    return {_name(one): ran[one.id] for one in cursors if one.id in ran}


def _name(cursor: Cursor) -> str:
    name = cursor.subscription
    return name if cursor.priority == 3 else f"{name} {cursor.priority}"


def follow(db: Session, relay: Relay, sink: SharedSink) -> None:
    """All cursors come to stand at one place, as they do after a run."""
    publish(db)
    run(relay)
    sink.taken.clear()
    sink.pages = 0


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


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are soon far behind, and little of one is read at once."""
    monkeypatch.setattr(shared, "MAX_BEHIND_IDS", 50)
    monkeypatch.setattr(shared, "FAR_MESSAGES", 20)
    monkeypatch.setattr(shared, "FAR_IDS", 80)


FILL_THREE = """
insert into outbox.message (channel, type, group_key, payload)
select 'c' || n %% 3, 'event', 'g' || n %% 10, '{}' from generate_series(1, %s) as n
"""


def test_several_with_backlogs_of_their_own_go_alone_though_each_takes_a_part_of_what_is_read(
    db: Session, together: Relay
) -> None:
    subscribe(db, "one", channels=["c0"])
    subscribe(db, "two", channels=["c1"])
    subscribe(db, "three", channels=["c2"])
    subscribe(db, "lacks", channels=["parcels"])
    db.execute(FILL_THREE, [shared.MAX_BEHIND_IDS + 1])
    subscribe(db, "near", channels=["c0"])
    db.execute(FILL_THREE, [10])
    ran = run(together)
    assert {name for name, one in ran.items() if one.alone} == {"one", "two", "three"}


def test_one_with_a_backlog_goes_alone_and_the_others_go_on(
    db: Session, together: Relay, sink: SharedSink, far: None
) -> None:
    subscribe(db, "backlog")
    subscribe(db, "lacks", channels=["parcels"])
    parcel = publish(db, channel="parcels")
    db.execute(FILL, [100])
    subscribe(db, "a", "b")
    written = publish(db)
    ran = run(together)
    assert {name for name, one in ran.items() if one.alone} == {"backlog"}
    assert (sink.taken["a"], sink.taken["b"]) == ([written], [written])
    assert (len(sink.taken["backlog"]), sink.taken["lacks"]) == (20, [parcel])


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_others_wrote_or_rolled_back_sends_no_one_alone(
    db: Session, together: Relay, sink: SharedSink, far: None, end: str
) -> None:
    subscribe(db, "a", channels=["a"])
    subscribe(db, "b", channels=["b"])
    follow(db, together, sink)
    db.execute("begin")
    db.execute(FILL, [500])
    db.execute(end)
    subscribe(db, "c", channels=["a"])
    written = publish(db, channel="a")
    first = run(together)
    assert first["c"] == Ran(progressed=True)
    assert sink.taken["c"] == [written]
    while together.probe():
        assert not any(one.alone for one in run(together).values())
    assert (sink.taken["a"], sink.taken["b"]) == ([written], [])


def test_a_run_with_others_reads_a_part_for_those_far_behind(
    db: Session, together: Relay, sink: SharedSink, far: None
) -> None:
    subscribe(db, "oldest", channels=["parcels"])
    db.execute(FILL, [200])
    subscribe(db, "older", channels=["parcels"])
    db.execute(FILL, [60])
    subscribe(db, "a", channels=["parcels"])
    written = publish(db, channel="parcels")
    assert run(together) == {
        "oldest": Ran(progressed=True, exhausted=False),
        "older": Ran(exhausted=False),
        "a": Ran(progressed=True),
    }
    while together.probe():
        assert not any(one.alone for one in run(together).values())
    assert sink.taken == {"oldest": [written], "older": [written], "a": [written]}


def test_a_turn_to_the_next_partition_sends_no_one_alone(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", channels=["a"])
    follow(db, together, sink)
    publish(db, channel="other")
    db.execute(
        "select setval(pg_get_serial_sequence('outbox.message', 'id'), outbox.partition_room())"
    )
    publish(db, channel="other")
    subscribe(db, "b", channels=["a"])
    written = publish(db, channel="a")
    for _ in range(2):
        assert not any(one.alone for one in run(together).values())
    assert sink.taken == {"a": [written], "b": [written]}


def test_where_all_are_far_behind_they_catch_up_together(
    db: Session, together: Relay, sink: SharedSink, far: None
) -> None:
    subscribe(db, "a", "b")
    follow(db, together, sink)
    db.execute(FILL, [100])
    subscribe(db, "c")
    db.execute(FILL, [60])
    # Nobody is there whom they would hold up.
    assert set(run(together).values()) == {Ran(progressed=True)}
    assert {name: len(ids) for name, ids in sink.taken.items()} == {"a": 160, "b": 160, "c": 60}


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


def test_of_a_run_that_fails_nothing_counts_for_any(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)

    def fail() -> None:
        raise RuntimeError("a mistake")

    sink.delivered = fail
    with pytest.raises(RuntimeError):
        run(together)
    sink.delivered = lambda: None
    run(together)
    assert sink.taken == {"a": [written], "b": [written]}


def test_channel_cursors_are_never_read_together(
    db: Session, together: Relay, sink: SharedSink, open_relay: OpenRelay
) -> None:
    """Two of one subscription stand at one place, and each reads a channel of its own."""
    subscribe(db, "a", "b")
    lacking = RecordingSink()
    lacking.missing = {"x", "y"}
    other = open_relay(lacking)
    written = [publish(db, channel="y") for _ in range(3)]
    written += [publish(db, channel="x") for _ in range(2)]
    for cursor in other.probe():
        if cursor.subscription == "a":
            other.run(cursor)
    for _ in range(5):
        cursors = together.probe()
        ran = together.run_together(cursors)
        assert all(ran[one.id].alone for one in cursors if one.channel is not None)
    assert sink.taken["a"] == []
    assert sink.taken["b"] == written
    other.sink.missing = set()
    other.drain()
    assert sorted(one.id for one in lacking.arrivals) == written


def test_what_another_relay_holds_is_left_out(
    db: Session, together: Relay, sink: SharedSink, open_relay: OpenRelay
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)
    rival_sink = SharedSink()
    rival = open_relay(rival_sink)
    held = [cursor for cursor in together.probe() if cursor.subscription == "a"]
    others: dict[str, Ran] = {}
    sink.delivered = lambda: others.update(run(rival))
    assert together.run(held[0]) is not None
    assert others.keys() == {"b"}
    assert (sink.taken, rival_sink.taken) == ({"a": [written]}, {"b": [written]})


def test_one_of_two_equal_checkpoints_makes_the_whole_run_void(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    written = publish(db)

    def overtake() -> None:
        db.execute(
            "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
            " select cursor_id, n + 1, seen, 'zombie' from outbox.checkpoint k"
            " join outbox.cursor c on c.id = k.cursor_id"
            " join outbox.subscription s on s.id = c.subscription_id"
            " where s.name = 'a' and c.priority = 3 order by n desc limit 1"
        )

    sink.delivered = overtake
    with pytest.raises(errors.UniqueViolation):
        run(together)
    sink.delivered = lambda: None
    run(together)
    assert sink.taken["b"] == [written, written]


def test_the_next_run_begins_in_the_round_trip_of_the_last_ones_end(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    first = publish(db)
    later: list[int] = []
    sink.delivered = lambda: later.append(publish(db))
    ran = run(together, again=True)
    assert all(one.begun for one in ran.values())
    # Held already: another relay finds them taken.
    with psycopg.connect(together.settings.database_url) as rival:
        free = rival.execute("select from outbox.cursor for no key update skip locked").rowcount
    assert free == 8
    sink.delivered = lambda: None
    ran = run(together, again=True)
    assert not any(one.begun for one in ran.values())
    assert sink.taken == {"a": [first, *later], "b": [first, *later]}
    assert together.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_what_was_claimed_ahead_is_given_back_where_no_run_follows(
    db: Session, together: Relay, sink: SharedSink
) -> None:
    subscribe(db, "a", "b")
    publish(db)
    sink.delivered = lambda: publish(db)
    assert all(one.begun for one in run(together, again=True).values())
    together.rest()
    free = db.execute("select from outbox.cursor for no key update skip locked").rowcount
    assert free == 10


def test_a_run_that_is_cut_in_the_middle_of_a_stream_leaves_a_session_that_goes_on(
    db: Session, together: Relay, sink: SharedSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(db, "a", "b")
    follow(db, together, sink)
    db.execute(FILL, [10 * CHUNK_ROWS])
    # A run ends after its first turn, which is made here of one page that is read whole and of one
    # that comes in a stream.
    monkeypatch.setattr(shared, "RUN_SECONDS", 0.0)
    stream = Reading.stream

    def from_the_second_page(reading: Reading) -> Generator[list[Row]]:
        with closing(stream(reading)) as pages:
            yield next(pages) + next(pages)
            yield from pages

    monkeypatch.setattr(Reading, "stream", from_the_second_page)
    cursors = together.probe()
    together.run_together(cursors, again=True)
    assert len(sink.taken["a"]) == 2 * CHUNK_ROWS
    monkeypatch.undo()
    for _ in range(3):
        together.run_together(cursors, limit=CHUNK_ROWS, again=True)
    assert len(sink.taken["a"]) == 5 * CHUNK_ROWS
    assert sink.taken["a"] == sink.taken["b"]


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
