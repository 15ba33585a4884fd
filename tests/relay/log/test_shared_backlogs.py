"""Cursors that follow the log together while some are far behind: who goes alone, and who not."""

import pytest

from relay.log import shared
from relay.log.run import Ran
from tests.relay.log.together import FILL, SharedSink, follow, run, subscribe
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

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
