"""Several relays on one topic: they share it, and what one has taken in no other does."""

from random import Random

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.relay.operating import relay_role
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.sources.inward_fixtures"]

RECORDS, KEYS, KILLS = 20_000, 500, 12


def both_read(inward: InwardStage) -> None:
    owners = set(inward.owners().values())
    assert owners == {"a", "b"}, owners


def test_two_relays_share_the_partitions(inward: InwardStage) -> None:
    topic = inward.topic("orders")
    inward.take_in(topic)
    for name in ("a", "b"):
        inward.relay(RELAY_NAME=name)
    written = 0

    def shared() -> None:
        nonlocal written
        inward.produce(topic, keyed(40, 20, written))
        written += 40
        both_read(inward)

    eventually(shared, 40)
    in_order(inward.all_entered(written))


def test_a_frozen_relay_that_wakes_takes_in_nothing_twice(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(100, 5))
    inward.take_in(topic)
    frozen = inward.relay(RELAY_NAME="a")
    inward.all_entered(100)
    frozen.pause()
    inward.relay(RELAY_NAME="b")
    inward.produce(topic, keyed(100, 5, 100))
    in_order(inward.all_entered(200))
    assert set(inward.owners().values()) == {"b"}
    frozen.resume()
    inward.produce(topic, keyed(100, 5, 200))
    in_order(inward.all_entered(300))
    inward.query("select pg_sleep(2)")
    assert len(inward.entered()) == 300


def test_a_batch_that_another_relay_has_taken_in_is_rolled_back(inward: InwardStage) -> None:
    """As for a zombie: the position moves while a relay stands at the former one."""
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    inward.relay(RELAY_NAME="a")
    inward.all_entered(10)
    inward.execute("update outbox.source_position set next_offset = 15")
    inward.produce(topic, keyed(10, 5, 100))
    entered = inward.all_entered(15)
    assert [one.payload for one in entered[10:]] == [b'{"n": %d}' % n for n in range(105, 110)]


def taken_in(inward: InwardStage, number: int) -> None:
    """Waits until so many have entered: a moment to strike at, in the relays' own time."""

    def there() -> None:
        ((entered,),) = inward.query("select coalesce(sum(entered), 0) from outbox.source_position")
        assert entered >= number, entered

    eventually(there, 60)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_each_of_twenty_thousand_records_enters_once_though_relays_are_killed(
    inward: InwardStage,
) -> None:
    random = Random(21)
    topic = inward.topic("orders", partitions=6)
    inward.take_in(topic)
    # Batches of some hundred, so that many of them are struck.
    relays: list[Program] = [inward.relay(RELAY_NAME=name) for name in ("a", "b")]
    written = 0
    for _ in range(KILLS):
        inward.produce(topic, keyed(RECORDS // KILLS, KEYS, written))
        written += RECORDS // KILLS
        taken_in(inward, written - random.randint(1, RECORDS // KILLS))
        victim = random.choice(relays)
        victim.kill()
        victim.launch()
    inward.produce(topic, keyed(RECORDS - written, KEYS, written))
    entered = inward.all_entered(RECORDS, timeout_seconds=90)
    in_order(entered)
    assert len({one.idempotency_key for one in entered}) == RECORDS
    assert len({one.group_key for one in entered}) == KEYS
    assert inward.state()["entered"] == RECORDS


def test_a_relay_frozen_in_the_middle_of_a_copy_gives_its_partitions_back(
    inward: InwardStage,
) -> None:
    """Neither a timeout nor its own end reaches a backend that waits for the rest of a COPY."""
    topic = inward.topic("orders", partitions=1)
    inward.take_in(topic)
    patience = {"RELAY_BARRIER_SECONDS": "1"}
    frozen = inward.relay(RELAY_NAME="a", **patience)

    def begun() -> None:
        assert len(inward.owners()) == 1

    eventually(begun)
    # More than the sockets between the two hold.
    large = [(b"k%d" % (n % 5), b'{"n": %d, "fill": "%s"}' % (n, b"x" * 60_000)) for n in range(80)]
    with inward.database() as holder:
        holder.execute("begin; lock table outbox.message in exclusive mode")
        inward.produce(topic, large)

        def copies() -> None:
            assert inward.query(
                "select count(*) from pg_stat_activity where query ~ 'copy outbox.message'"
                " and wait_event_type = 'Lock' and application_name ~ ' source '"
            ) == [(1,)]

        eventually(copies, 30)
        frozen.pause()
        holder.execute("rollback")

    def waits_for_the_rest() -> None:
        assert inward.query(
            "select wait_event from pg_stat_activity where application_name ~ ' source '"
        ) == [("ClientRead",)]

    eventually(waits_for_the_rest, 30)
    inward.relay(RELAY_NAME="b", **patience)
    in_order(inward.all_entered(80, timeout_seconds=60))
    frozen.resume()
    inward.produce(topic, keyed(10, 5, 1000))
    in_order(inward.all_entered(90))


def test_a_relay_frozen_while_it_begins_gives_the_row_of_its_source_back(
    inward: InwardStage,
) -> None:
    """Without it no other relay begins, and nobody can change the connector or end it."""
    patience = {"RELAY_BARRIER_SECONDS": "1"}
    topic = inward.topic("orders")
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    with inward.database() as holder:
        holder.execute("begin; lock table outbox.source_position in share mode")
        frozen = inward.relay(RELAY_NAME="a", **patience)

        def begins() -> None:
            assert inward.query(
                "select wait_event_type from pg_stat_activity"
                " where query ~ 'insert into outbox.source_position'"
                " and application_name ~ '^outbox-relay a'"
            ) == [("Lock",)]

        eventually(begins, 30)
        frozen.pause()
        holder.execute("rollback")
    inward.relay(RELAY_NAME="b", **patience)
    in_order(inward.all_entered(10, timeout_seconds=60))
    inward.execute("select outbox.seek_source(id, 'latest') from outbox.source")
    frozen.resume()
    inward.produce(topic, keyed(10, 5, 10))
    in_order(inward.all_entered(20))


def test_a_relay_with_the_rights_of_its_role_alone_does_all_of_it(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=2)
    inward.execute("alter table outbox.message add constraint own check (payload <> 'x'::bytea)")
    inward.produce(topic, [*keyed(10, 5), (b"k", b"x")])
    inward.take_in(topic)
    inward.take_in(f"{topic}-absent", "absent")
    with inward.database() as owner, relay_role(owner) as url:
        relay = inward.relay(DATABASE_URL=url)
        inward.all_entered(10)
        inward.waits("does not exist", name="absent")
        inward.execute("alter table outbox.message drop constraint own")
        inward.execute("update outbox.source_dead_letter set due = true")
        inward.all_entered(11)
        inward.produce(topic, keyed(10, 5, 100), partition=0)
        inward.all_entered(21)
        relay.kill()
        ((stands_at,),) = inward.query(
            "select next_offset from outbox.source_position where partition = 0 and topic = %s",
            topic,
        )
        inward.produce(topic, keyed(10, 5, 200), partition=0)
        inward.delete_before(topic, {0: int(str(stands_at)) + 5})
        relay.launch()
        inward.stops("was deleted")
        assert relay.stop() == 0
