"""Records of a real topic enter the log of a real database, each once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg.errors import CheckViolation
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from relay.database import connect
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources.intake import session
from relay.sources.kafka.intake import TopicIntake
from relay.sources.kafka.reader import Reader
from relay.sources.record import Record
from relay.sources.source import active
from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


@pytest.mark.long
def test_records_enter_once_in_the_order_of_their_keys(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(2000, 50))
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    entered = inward.all_entered(2000)
    in_order(entered)
    assert len({one.idempotency_key for one in entered}) == 2000
    assert {one.group_key for one in entered} == {f"k{n}" for n in range(50)}
    assert inward.relay("--once").wait(60) == 0
    assert len(inward.entered()) == 2000
    assert inward.state()["lag"] == 0


def test_no_transaction_is_open_while_the_cluster_is_asked_or_read(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is published meanwhile could go out."""
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, [(b"k", b"v")] * 20)
    inward.take_in(topic)
    settings = Settings.from_environment(inward.environment())
    with connect(settings) as connection:
        seen: list[TransactionStatus] = []
        told, records = Reader.told, Reader.records

        def note() -> None:
            seen.append(TransactionStatus(connection.info.transaction_status))

        def noting_told(reader: Reader, asked: Any) -> Any:
            note()
            return told(reader, asked)

        def noting_records(reader: Reader) -> Iterator[Record]:
            for record in records(reader):
                note()
                yield record

        monkeypatch.setattr(Reader, "told", noting_told)
        monkeypatch.setattr(Reader, "records", noting_records)
        [source] = active(connection)
        intake = TopicIntake(source, settings, Telemetry())
        session(intake, connection, lambda: intake.entered < 20)
    assert len(inward.entered()) == 20
    assert len(seen) > 20
    assert set(seen) == {TransactionStatus.IDLE}


def test_a_relay_that_waits_takes_in_what_comes(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.take_in(topic)
    inward.relay()
    for n in range(1, 4):
        inward.produce(topic, [(b"k", b"%d" % n)])
        inward.all_entered(n)
    assert [one.payload for one in inward.entered()] == [b"1", b"2", b"3"]


def test_tombstones_and_empty_values_have_their_place_among_the_others(
    inward: InwardStage,
) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, [(b"k", b"a"), (b"k", None), (b"k", b""), (b"k", None), (b"k", b"z")])
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    entered = inward.all_entered(5)
    assert [one.payload for one in entered] == [b"a", b"", b"", b"", b"z"]
    assert ["kafka-tombstone" in one.headers for one in entered] == [
        *(False, True, False, True, False),
    ]


def test_odd_keys_and_headers_crash_nothing(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    keys = [None, b"", b"a\0b", b"\xff\xfe", b"x" * 2000]
    headers = [("twice", b"1"), ("twice", b"2"), ("none", None), ("binary", b"\xff"), ("", b"x")]
    inward.produce(topic, [(key, b"v") for key in keys], headers=headers)
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    entered = inward.all_entered(5)
    assert [one.group_key for one in entered[:4]] == [None, "", "base64:YQBi", "base64://4="]
    assert str(entered[4].group_key).startswith("sha256:")
    assert all(one.headers.items() >= {"twice": "2"}.items() for one in entered)
    assert all(one.headers.keys() == {"twice", "outbox-path"} for one in entered)


def test_events_enter_as_events(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    event = [("ce_specversion", b"1.0"), ("ce_type", b"order.paid"), ("ce_id", b"7")]
    inward.produce(topic, [(b"k", b"{}")], headers=[*event, ("ce_source", b"/shop")])
    structured = b'{"specversion":"1.0","type":"order.sent","id":"8","source":"/s","data":[1, 2]}'
    kind = [("content-type", b"application/cloudevents+json")]
    inward.produce(topic, [(b"k", structured)], headers=kind)
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    first, second = inward.all_entered(2)
    assert (first.type, first.headers["event-id"]) == ("order.paid", "7")
    assert first.headers["event-source"] == "/shop"
    assert (second.type, second.payload) == ("order.sent", b"[1, 2]")
    assert second.content_type == "application/json"


def test_what_was_aborted_does_not_enter_and_marks_are_passed(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 2), transaction="committed")
    inward.produce(topic, keyed(10, 2, 100), transaction="aborted")
    inward.produce(topic, keyed(10, 2, 200), transaction="committed")
    inward.take_in(topic)
    inward.relay()
    in_order(inward.all_entered(20))

    def at_the_end() -> None:
        state = inward.query("select next_offset, end_offset from outbox.source_position")
        # Thirty records and three marks.
        assert state == [(33, 33)]

    eventually(at_the_end)
    inward.produce(topic, keyed(10, 2, 300), transaction="aborted")

    def behind_the_marks() -> None:
        assert inward.query("select next_offset from outbox.source_position") == [(44,)]

    eventually(behind_the_marks)
    assert len(inward.entered()) == 20


def test_it_begins_at_the_end_where_that_is_wanted(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(100, 5))
    inward.take_in(topic, **{"from": "latest"})
    inward.relay()

    def begun() -> None:
        assert len(inward.owners()) == 4

    eventually(begun)
    inward.produce(topic, keyed(100, 5, 100))
    entered = inward.all_entered(100)
    in_order(entered)
    assert min(one.payload for one in entered) == b'{"n": 100}'


def test_it_begins_at_a_time(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, [(b"k", b"before")])
    ((moment,),) = inward.query("select clock_timestamp() + interval '2 milliseconds'")
    assert isinstance(moment, datetime)
    inward.query("select pg_sleep_until(%s)", moment)
    inward.produce(topic, [(b"k", b"after")])
    inward.take_in(topic, **{"from": moment.astimezone(UTC).isoformat(timespec="milliseconds")})
    assert inward.relay("--once").wait(60) == 0
    assert [one.payload for one in inward.all_entered(1)] == [b"after"]


def test_partitions_that_are_added_later_are_read_from_their_beginning(
    inward: InwardStage,
) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.take_in(topic, **{"from": "latest"})
    inward.relay()

    def begun() -> None:
        assert len(inward.owners()) == 1

    eventually(begun)
    inward.more_partitions(topic, 3)
    for partition in range(3):

        def written(partition: int = partition) -> None:
            inward.produce(topic, [(b"k", b"%d" % partition)], partition=partition)

        written()
    assert {one.payload for one in inward.all_entered(3)} == {b"0", b"1", b"2"}


def test_what_enters_has_the_priority_of_its_connector(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.execute("alter table outbox.message add constraint own check (payload <> 'x'::bytea)")
    inward.produce(topic, [(b"k", b"1"), (b"k", b"x")])
    inward.execute(
        "select outbox.connect_in('shop', 'shop', 'kafka', %s, priority => 1)",
        Jsonb({"topic": topic}),
    )
    assert inward.relay("--once").wait(60) == 0
    inward.all_entered(1)
    inward.execute("alter table outbox.message drop constraint own")
    # A dead letter too, when it is tried again.
    assert "entered: 1" in inward.command("redrive", "shop", "--all")
    assert inward.query("select priority from outbox.message where channel = 'shop'") == [
        (1,),
        (1,),
    ]


def test_an_idle_source_moves_nothing(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(10)
    before = inward.query("select xmin::text, ctid::text from outbox.source_position")
    inward.query("select pg_sleep(2.5)")
    assert inward.query("select xmin::text, ctid::text from outbox.source_position") == before


@pytest.mark.parametrize(
    "start", ["2026-03-01T24:00:00Z", "2026-03-01T09:60:00Z", "2026-03-01T09:00:60Z", "2026-02-30"]
)
def test_a_start_that_is_no_time_is_refused(inward: InwardStage, start: str) -> None:
    """Postgres takes the first three for times, and Python does not."""
    with pytest.raises(CheckViolation, match=r"settings\.from"):
        inward.take_in("orders", **{"from": start})


@pytest.mark.long
@pytest.mark.parametrize("start", ["1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_before_all_time_is_the_beginning(inward: InwardStage, start: str) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic, **{"from": start})
    assert inward.relay("--once").wait(60) == 0
    inward.all_entered(10)


@pytest.mark.parametrize("fault", ["", "a b", "outbox.cursors"])
def test_a_config_that_means_nothing_is_refused(inward: InwardStage, fault: str) -> None:
    program = inward._spawn(
        *("outbox-relay", "connectors", "add", "shop", "--direction", "in"),
        *("--channel", "shop", "--type", "kafka", "--config", f'{{"topic": "{fault}"}}'),
        environment=inward.environment(),
    )
    assert program.wait(30) == 1
    assert "settings.topic" in program.log_tail()


@pytest.mark.long
def test_once_takes_in_what_a_relay_that_is_gone_was_reading(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    gone = inward.relay(RELAY_NAME="gone")
    inward.all_entered(10)
    gone.kill()
    assert set(inward.owners().values()) == {"gone"}
    inward.produce(topic, keyed(10, 5, 100))
    assert inward.relay("--once", RELAY_NAME="another").wait(60) == 0
    assert len(inward.entered()) == 20


def test_a_relay_that_ends_leaves_its_partitions_to_anybody(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    relay = inward.relay(RELAY_NAME="a")
    inward.all_entered(10)
    assert inward.owners() == {0: "a"}
    relay.stop()
    assert inward.owners() == {0: None}


def test_only_so_many_sources_are_made(inward: InwardStage) -> None:
    inward.execute("update outbox.quota set sources = 1")
    inward.take_in("orders", "one")
    with pytest.raises(CheckViolation, match="at most 1"):
        inward.take_in("orders", "two")
