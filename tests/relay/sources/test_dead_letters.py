"""Records that could not enter: kept whole, bounded, tried again, shown and forgotten."""

import pytest

from relay.database import connect, transaction
from relay.settings import Settings
from relay.sources import dead_letters
from relay.sources.dead_letters import DeadLetter
from relay.sources.record import Record
from relay.sources.source import Stopped
from tests.eventually import eventually
from tests.relay.sources.inward_stage import InwardStage
from tests.relay.stage import memory_bytes

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


# Of a relay, the most that it ever has.
MOST_BYTES = 300_000_000


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
    # 900 kB of three bytes each; then the most of them of which librdkafka tells anything.
    inward.produce(topic, [(b"k", None)], headers=[("a", b"")] * 300_000)
    inward.produce(topic, [(b"k", None)] * 80, headers=[("a", b"")] * 100_000)
    inward.take_in(topic)
    with inward.relay() as relay:

        def kept() -> None:
            assert inward.state()["dead_letters"] >= 5

        eventually(kept, 60)
        assert memory_bytes(relay.pid, "VmHWM") < MOST_BYTES
    assert [one.payload for one in inward.entered()] == [b""]
    reasons = "select distinct reason from outbox.source_dead_letter"
    assert inward.query(reasons) == [("too_many_headers",)]


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


@pytest.mark.long
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
