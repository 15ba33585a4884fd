"""Whether inward connectors can read what they name."""

from relay.doctor.finding import Finding
from tests.relay.doctor.examining import findings
from tests.relay.sources.inward_stage import InwardStage, keyed

pytest_plugins = ["tests.relay.sources.inward_fixtures"]


def told(inward: InwardStage, **environment: str) -> list[Finding]:
    servers = {"KAFKA_BOOTSTRAP_SERVERS": inward.bootstrap_servers, **environment}
    return [one for one in findings(inward.database_url, **servers) if one.what == "source"]


def test_one_that_can_be_read_is_well(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=2)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(3, 3, 100))
    [one] = told(inward)
    assert (one.level, one.text) == ("ok", "shop can read its topic, and 3 records wait")
    # It looked, and moved nothing.
    assert len(inward.entered()) == 10


def test_what_is_missing_is_said(inward: InwardStage) -> None:
    inward.take_in(f"{inward.topic_prefix}absent")
    [absent] = told(inward)
    assert (absent.level, "does not exist" in absent.text) == ("fault", True)
    inward.take_in("orders", "other", brokers=inward.bootstrap_servers)
    texts = [one.text for one in told(inward)]
    assert any("other: " in text and "RELAY_ALLOW_HOSTS" in text for text in texts)


def test_offsets_that_are_gone_are_said_before_a_relay_stops_at_them(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.produce(topic, keyed(10, 5, 100))
    inward.delete_before(topic, {0: 15})
    [one] = told(inward)
    assert one.level == "fault"
    assert "offset 10 of partition 0 was deleted" in one.text
    assert "seek shop" in one.hint


def test_a_topic_that_was_made_again_is_said(inward: InwardStage) -> None:
    topic = inward.topic("orders", partitions=1)
    inward.produce(topic, keyed(10, 5))
    inward.take_in(topic)
    assert inward.relay("--once").wait(60) == 0
    inward.execute("update outbox.source_position set topic_id = 'another'")
    [one] = told(inward)
    assert (one.level, "made again" in one.text) == ("fault", True)


def test_questions_and_dead_letters_are_said(inward: InwardStage) -> None:
    inward.take_in("orders")
    inward.execute("update outbox.source set paused = true, paused_reason = 'from where on?'")
    inward.execute(
        "insert into outbox.source_dead_letter (source_id, topic, partition, record_offset,"
        " header_names, header_values, reason, detail)"
        " select id, 'orders', 0, 1, '{}', '{}', 'refused', '' from outbox.source"
    )
    paused, letters = told(inward)
    assert (paused.level, "from where on?" in paused.text) == ("warning", True)
    assert (letters.level, "1 of what came" in letters.text) == ("warning", True)
