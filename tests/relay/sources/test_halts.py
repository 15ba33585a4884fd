"""A source that stops with a question, waits, is paused, or is sent to another place."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NoReturn
from uuid import UUID, uuid4

import pytest
from confluent_kafka import KafkaException
from psycopg.types.json import Jsonb

from relay.database import connect
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources.intake import session
from relay.sources.kafka.intake import MAX_ENDED, TopicIntake
from relay.sources.kafka.reader import Reader
from relay.sources.record import Record
from relay.sources.source import Stopped, active
from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_seek_while_it_waits_begins_anew_at_once(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(10)
    inward.command("seek", "shop", "--from", "earliest")
    inward.all_entered(20)


@pytest.mark.long
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


@pytest.mark.long
def test_what_came_after_a_pause_waits_though_it_is_read_by_then(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay()
    inward.all_entered(10)
    for n in range(2):
        inward.execute("update outbox.source set paused = true")
        inward.produce(topic, keyed(10, 5, 100 * (n + 1)))
        # The relay looks at what sources there are every other second.
        inward.query("select pg_sleep(2.5)")
        assert len(inward.entered()) == 10 * (n + 1)
        inward.execute("update outbox.source set paused = false")
        inward.all_entered(10 * (n + 2))


@pytest.mark.long
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


class Killed(Exception):
    """As of a process that takes up more memory than it may."""


def read_and_die(inward: InwardStage, process: UUID) -> None:
    """What a relay does that has the source, as this process. Raises as `session`."""
    settings = Settings.from_environment(inward.environment())
    with connect(settings) as connection:
        [source] = active(connection)
        intake = TopicIntake(source, settings, Telemetry())
        intake.process = process
        try:
            session(intake, connection, lambda: True)
        except SinkAway:
            intake.outlive(connection)
            raise


@pytest.mark.long
def test_records_that_end_each_relay_which_reads_them_stop_their_source_and_no_more_relays(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a megabyte does that unpacks to a gigabyte: librdkafka unpacks whatever comes."""
    topic = inward.topic("orders", partitions=2)
    inward.produce(topic, keyed(5, 5), partition=1)
    inward.take_in(topic)

    def records(_: Reader) -> Iterator[Record]:
        raise Killed

    def away(_: Reader) -> NoReturn:
        raise SinkAway("the cluster is away")

    with monkeypatch.context() as deadly:
        deadly.setattr(Reader, "records", records)
        for _ in range(MAX_ENDED - 1):
            with pytest.raises(Killed):
                read_and_die(inward, uuid4())
        # A cluster that goes away ends no process, however often.
        deadly.setattr(Reader, "records", away)
        for _ in range(2):
            with pytest.raises(SinkAway):
                read_and_die(inward, uuid4())
        deadly.setattr(Reader, "records", records)
        with pytest.raises(Killed):
            read_and_die(inward, uuid4())
        with pytest.raises(Stopped, match=f"relays ended when they .* {topic} at 1:0"):
            read_and_die(inward, uuid4())
    # Who resumes it lets it be tried anew; and what comes in ends the count.
    inward.relay()
    in_order(inward.all_entered(5))
    [(readers,)] = inward.query("select max(cardinality(readers)) from outbox.source_position")
    assert readers == 0


@pytest.mark.long
def test_relays_that_begin_with_a_topic_at_one_moment_do_not_stop_it(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them begin with its first partitions, before any has taken something in."""
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(5, 5))
    inward.take_in(topic)
    with monkeypatch.context() as slow, ExitStack() as sessions:
        slow.setattr(Reader, "wait", lambda *_: False)
        for number in range(MAX_ENDED + 2):
            settings = Settings.from_environment(inward.environment(RELAY_NAME=f"beside-{number}"))
            connection = sessions.enter_context(connect(settings))
            [source] = active(connection)
            intake = TopicIntake(source, settings, Telemetry())
            intake.process = uuid4()
            reader = intake.begin(connection)
            sessions.callback(reader.close)
            intake.run(connection, reader)
    [(readers,)] = inward.query("select max(cardinality(readers)) from outbox.source_position")
    assert readers == MAX_ENDED + 2
