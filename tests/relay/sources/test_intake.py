"""Records of a real topic enter the log of a real database, each once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaException
from psycopg.errors import CheckViolation
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from relay.database import connect, transaction
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources import dead_letters
from relay.sources.dead_letters import DeadLetter
from relay.sources.intake import session
from relay.sources.kafka.intake import TopicIntake
from relay.sources.kafka.reader import Reader
from relay.sources.record import Record
from relay.sources.source import Stopped, active
from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed
from tests.relay.stage import memory_bytes

pytest_plugins = ["tests.relay.sources.inward_fixtures"]

# Of a relay, the most that it ever has.
MOST_BYTES = 300_000_000
OTHER = "9d2f7c3e-0000-4000-8000-000000000002"


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


def test_what_can_not_enter_is_kept_whole_and_the_rest_goes_on(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1, **{"max.message.bytes": "1048588"})
    # Nearly the largest that the topic takes, with what is around it.
    large = b"v" * (1_048_588 - 90)
    inward.produce(topic, [(b"k", b"1"), (b"k", large), (b"k", b"2")], headers=[("a", b"\xff")])
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    assert [one.payload for one in inward.all_entered(2)] == [b"1", b"2"]
    assert inward.query(
        "select partition, record_offset, key, value, header_names, header_values, reason"
        " from outbox.source_dead_letter"
    ) == [(0, 1, b"k", large, ["a"], [b"\xff"], "too_large")]
    assert inward.state()["dead_letters"] == 1
    assert "too_large" in inward.command("dead-letters", "shop")


@pytest.mark.long
def test_records_that_are_all_headers_take_little_memory(inward: InwardStage) -> None:
    """Tombstones, so that no bound on values holds them; looked at, each takes megabytes."""
    topic = inward.topic("orders", partitions=1)
    # Of three bytes each, the most of which librdkafka tells anything; and 900 kB of them.
    inward.produce(topic, [(b"k", None)] * 20, headers=[("a", b"")] * 100_000)
    inward.produce(topic, [(b"k", None)], headers=[("a", b"")] * 300_000)
    inward.produce(topic, [(b"k", b"last")])
    inward.take_in(topic)
    with inward.relay() as relay:
        entered = inward.all_entered(2, timeout_seconds=60)
        assert memory_bytes(relay.pid, "VmHWM") < MOST_BYTES
    assert [one.payload for one in entered] == [b"", b"last"]
    reasons = "select reason, count(*) from outbox.source_dead_letter group by reason"
    assert inward.query(reasons) == [("too_many_headers", 20)]


def test_dead_letters_are_tried_again_and_forgotten(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.execute("alter table outbox.message add constraint own check (payload <> 'x'::bytea)")
    inward.produce(topic, [(b"k", b"1"), (b"k", b"x"), (b"k", b"2"), (b"k", b"x")])
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    assert [one.payload for one in inward.all_entered(2)] == [b"1", b"2"]
    ((first,), (second,)) = inward.query("select id from outbox.source_dead_letter order by id")
    refused = inward._spawn(
        "outbox-relay", "connectors", "redrive", "shop", "--all", environment=inward.environment()
    )
    assert refused.wait(30) == 1
    inward.execute("alter table outbox.message drop constraint own")
    assert "entered: 1" in inward.command("redrive", "shop", str(first))
    assert [one.payload for one in inward.entered()] == [b"1", b"2", b"x"]
    assert inward.entered()[2].idempotency_key == f"{topic.replace('.', ':')}-0-1"
    assert "forgotten: 1" in inward.command("discard", "shop", str(second))
    assert inward.state()["dead_letters"] == 0


def test_only_so_many_dead_letters_are_kept_and_then_it_asks(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.take_in(topic)
    inward.execute(
        "insert into outbox.source_dead_letter (source_id, topic, partition, record_offset,"
        " header_names, header_values, reason, detail)"
        " select id, 'gone', 0, n, '{}', '{}', 'refused', '' from outbox.source,"
        " generate_series(1, 10000) as n"
    )
    structured = [("content-type", b"application/cloudevents+json")]
    inward.produce(topic, [(b"k", b"no event")], headers=structured)
    relay = inward.relay()
    inward.stops("10000 dead letters", "redrive", "discard")
    inward.command("discard", "shop", "--all")
    inward.command("resume", "shop")

    def kept() -> None:
        assert inward.state()["dead_letters"] == 1

    eventually(kept, 30)
    assert relay.running


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


def test_offsets_that_are_gone_stop_it_with_a_question(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(100, 5))
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(100, 5, 100))
    inward.delete_before(topic, {0: 150})
    relay = inward.relay()
    inward.stops("offset 100", "150 is the first", "connectors seek shop --from earliest")
    assert len(inward.entered()) == 100
    assert relay.running
    inward.command("seek", "shop", "--from", "earliest")
    in_order(inward.all_entered(150))


@pytest.mark.parametrize("while_it_is_read", [True, False])
def test_a_topic_that_was_made_again_stops_it_with_a_question(
    inward: InwardStage, while_it_is_read: bool
) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    relay = inward.relay()
    inward.all_entered(10)
    if not while_it_is_read:
        relay.kill()
    inward.delete_topic(topic)

    def made_again() -> None:
        try:
            inward.topic("orders", partitions=1)
        except KafkaException as still_there:
            raise AssertionError(str(still_there)) from still_there

    eventually(made_again)
    # More than it had: its offsets alone would not tell.
    inward.produce(topic, keyed(50, 5, 1000))
    if not while_it_is_read:
        relay.launch()
    inward.stops("made again", "connectors seek shop")
    assert len(inward.entered()) == 10
    inward.command("seek", "shop", "--from", "earliest")
    inward.all_entered(60)


def test_a_topic_that_is_missing_is_waited_for(inward: InwardStage) -> None:
    topic = f"{inward.topic_prefix}orders"
    inward.take_in(topic)
    inward.relay()
    inward.waits(topic, "does not exist")
    inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.all_entered(10)

    def no_longer() -> None:
        assert inward.state()["waiting_reason"] is None

    eventually(no_longer)


def test_a_cluster_that_is_not_allowed_is_not_dialled(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.take_in(topic, brokers=inward.bootstrap_servers)
    relay = inward.relay()
    inward.waits("is not public")
    relay.kill()
    inward.produce(topic, keyed(10, 5))
    assert inward.relay("--once", RELAY_ALLOW_HOSTS="127.0.0.0/8").wait(60) == 0
    inward.all_entered(10)


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


def test_brokers_that_change_while_it_is_read_are_followed_from_where_it_stands(
    inward: InwardStage,
) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(20, 5))
    inward.take_in(topic, brokers=inward.bootstrap_servers)
    inward.relay(RELAY_ALLOW_HOSTS="127.0.0.0/8")
    inward.all_entered(20)
    change = "update outbox.source set settings = settings || %s"
    # Of the same cluster a name that nobody answers to, and then another that does.
    inward.execute(change, Jsonb({"brokers": "127.0.0.1:1"}))
    inward.waits()
    inward.produce(topic, keyed(20, 5, 100))
    port = inward.bootstrap_servers.rpartition(":")[2]
    inward.execute(change, Jsonb({"brokers": f"127.0.0.2:1,127.0.0.1:{port}"}))
    in_order(inward.all_entered(40))
    assert not inward.state()["paused"]


def test_a_paused_one_takes_nothing_and_goes_on_where_it_stood(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    relay = inward.relay()
    inward.all_entered(10)
    inward.command("pause", "shop", "--reason", "stocktaking")
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(10, 5, 100))
    assert inward.relay("--once").wait(60) == 0
    assert len(inward.entered()) == 10
    inward.command("resume", "shop")
    in_order(inward.all_entered(20))
    assert relay.running


def test_a_loop_that_can_be_seen_stops_it(inward: InwardStage) -> None:
    topic = inward.topic("shop")
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.relay()
    inward.stops("it would go round", "kafka", topic)


def test_what_has_passed_this_installation_is_counted_and_left_out(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    came_back = [("outbox-path", f"{OTHER}, {inward.installation}".encode())]
    inward.produce(topic, [(b"k", b"1")])
    inward.produce(topic, [(b"k", b"2")], headers=came_back)
    inward.produce(topic, [(b"k", b"3")], headers=[("outbox-path", OTHER.encode())])
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    first, third = inward.all_entered(2)
    assert (first.payload, third.payload) == (b"1", b"3")
    assert third.headers["outbox-path"] == f"{OTHER},{inward.installation}"
    state = inward.state()
    assert (state["entered"], state["passed"], state["lag"]) == (2, 1, 0)


def test_what_came_in_says_so_where_it_goes_out(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.create_topic("shop")
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.produce(topic, [(b"k", b"1")])
    inward.relay()

    def there() -> None:
        paths = [dict(one.headers)["outbox-path"].decode() for one in inward.arrivals("shop")]
        assert paths == [inward.installation]

    eventually(there, 30)


def test_what_was_published_here_does_not_come_back_by_way_of_another_installation(
    inward: InwardStage,
) -> None:
    """It goes out with the path of this one, since something comes in here."""
    topic = inward.topic("there", partitions=1)
    inward.create_topic("orders", partitions=1)
    inward.execute("update outbox.subscription set paused = false")
    inward.take_in(topic)
    inward.relay()
    inward.produce(topic, [(b"k", b"came in")])
    inward.all_entered(1)
    inward.publish(1, "orders")

    def gone_out() -> list[tuple[str, bytes | None]]:
        arrived = inward.arrivals("orders")
        assert len(arrived) == 1
        return list(arrived[0].headers)

    headers = eventually(gone_out, 30)
    assert dict(headers)["outbox-path"] == inward.installation.encode()
    # As another installation would write it to where this one reads.
    inward.produce(topic, [(b"k", b"of this one")], headers=headers)
    inward.produce(topic, [(b"k", b"of another")])
    assert [one.payload for one in inward.all_entered(2)] == [b"came in", b"of another"]
    assert inward.state()["passed"] == 1


def test_where_nothing_comes_in_no_message_has_a_path(inward: InwardStage) -> None:
    inward.create_topic("orders", partitions=1)
    inward.execute("update outbox.subscription set paused = false")
    inward.publish(1, "orders")
    assert inward.relay("--once").wait(60) == 0
    [one] = inward.arrivals("orders")
    assert "outbox-path" not in dict(one.headers)


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


def test_a_seek_while_it_waits_begins_anew_at_once(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(10)
    inward.command("seek", "shop", "--from", "earliest")
    inward.all_entered(20)


def test_after_a_seek_to_the_end_nothing_of_before_enters(inward: InwardStage) -> None:
    """Its former settings said earliest, and its session may look once more before it ends."""
    topic = inward.topic("orders")
    inward.produce(topic, keyed(50, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(50)
    for n in range(1, 4):
        inward.command("seek", "shop", "--from", "latest")

        def begun() -> None:
            assert len(inward.owners()) == 4

        eventually(begun)
        inward.produce(topic, keyed(1, 1, 1000 * n))
        inward.all_entered(50 + n)


def test_what_came_after_a_pause_waits_though_it_is_read_by_then(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(10)
    for n in range(3):
        inward.execute("update outbox.source set paused = true")
        inward.produce(topic, keyed(10, 5, 100 * (n + 1)))
        # The relay looks at what sources there are every other second.
        inward.query("select pg_sleep(2.5)")
        assert len(inward.entered()) == 10 * (n + 1)
        inward.execute("update outbox.source set paused = false")
        inward.all_entered(10 * (n + 2))


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


def test_once_fails_where_a_source_can_not_be_read(inward: InwardStage) -> None:
    inward.take_in("orders", brokers="127.0.0.1:1")
    assert inward.relay("--once", RELAY_ALLOW_HOSTS="127.0.0.0/8").wait(60) == 1


def test_of_a_topic_that_was_made_after_its_source_all_is_new(inward: InwardStage) -> None:
    """Though only what is new is wanted."""
    topic = f"{inward.topic_prefix}orders"
    inward.take_in(topic, **{"from": "latest"})
    inward.relay()
    inward.waits("does not exist")
    inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    in_order(inward.all_entered(10))


def test_a_batch_of_more_dead_letters_than_are_kept_enters_where_there_is_none_yet(
    database_url: str, inward: InwardStage
) -> None:
    """It could else never enter, whatever is discarded."""
    inward.take_in("orders")
    ((source_id,),) = inward.query("select id from outbox.source")
    letters = [DeadLetter(Record("t", 0, n, None, b"", ()), "refused", "") for n in range(10_001)]
    settings = Settings.from_environment({"DATABASE_URL": database_url})
    with connect(settings) as connection:
        with transaction(connection):
            dead_letters.keep(connection, source_id, letters)
        with pytest.raises(Stopped), transaction(connection):
            dead_letters.keep(connection, source_id, letters[:1])


def test_letters_that_are_due_are_tried_again_by_a_relay(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.execute("alter table outbox.message add constraint own check (payload <> 'x'::bytea)")
    inward.produce(topic, [(b"k", b"1"), (b"k", b"x")])
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(1)
    inward.execute("update outbox.source_dead_letter set due = true")

    def tried() -> None:
        assert inward.query("select due from outbox.source_dead_letter") == [(False,)]

    eventually(tried)
    inward.execute("alter table outbox.message drop constraint own")
    inward.execute("update outbox.source_dead_letter set due = true")
    assert [one.payload for one in inward.all_entered(2)] == [b"1", b"x"]
    assert inward.state()["dead_letters"] == 0


def test_a_dead_letter_is_shown_with_all_that_it_has(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    headers = [("content-type", b"application/cloudevents+json"), ("tenant", b"acme")]
    inward.produce(topic, [(b"key", b"no\x1bevent")], headers=headers)
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    ((letter_id,),) = inward.query("select id from outbox.source_dead_letter")
    shown = inward.command("dead-letter", "shop", str(letter_id))
    for words in ("bad_event", "header tenant", "acme", "key", "event"):
        assert words in shown
    assert "\x1b" not in shown


def test_only_so_many_sources_are_made(inward: InwardStage) -> None:
    inward.execute("update outbox.quota set sources = 1")
    inward.take_in("orders", "one")
    with pytest.raises(CheckViolation, match="at most 1"):
        inward.take_in("orders", "two")


def test_a_loop_that_settings_show_is_refused_from_both_sides(inward: InwardStage) -> None:
    config = {"brokers": "kafka.example.com:9092", "topic": "shop.orders"}
    inward.take_in("shop.orders", "shop", brokers=config["brokers"])
    connect = "select outbox.connect('out', %s, 'kafka', %s)"
    with pytest.raises(CheckViolation, match=r"settings\.topic leads round"):
        inward.execute(connect, "shop", Jsonb(config))
    inward.execute(connect, "other", Jsonb(config))
    with pytest.raises(CheckViolation, match=r"settings\.topic leads round"):
        inward.take_in("shop.orders", "other", brokers=config["brokers"])


def test_no_lock_that_any_login_may_take_keeps_one_from_beginning(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    with inward.database() as other:
        other.execute(
            "select pg_advisory_lock(hashtextextended('outbox source ' || id, 0))"
            " from outbox.source"
        )
        inward.relay()
        inward.all_entered(10)


def test_a_row_that_a_session_keeps_locked_is_told_and_then_it_begins(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    with inward.database() as other, other.transaction():
        other.execute("select from outbox.source for update")
        relay = inward.relay()

        def told() -> None:
            assert "keeps its row of outbox.source locked" in relay.log_tail()

        eventually(told, 30)
        assert inward.entered() == []
    inward.all_entered(10)


def test_a_row_that_a_session_keeps_locked_holds_up_nothing_that_has_begun(
    inward: InwardStage,
) -> None:
    topic = inward.topic("orders")
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(10, 5))
    # What a relay that can read takes back.
    inward.execute("select outbox.note_source_waiting(id, 'no broker') from outbox.source")
    with inward.database() as other, other.transaction():
        other.execute("select from outbox.source for update")
        relay = inward.relay("--once")
        assert relay.wait(60) == 0
    assert "session_failed" not in relay.output()
    inward.all_entered(10)
