"""What the metrics tell of inward connectors, from the database."""

from relay.database import Connection
from relay.monitoring.gauges import DatabaseCollector
from tests.relay.operating import settings

MAKE = """
    with made as (
        insert into outbox.source (name, channel, settings, paused, paused_reason)
        values ('well', 'c', '{"topic": "a"}', false, null),
               ('asks', 'c', '{"topic": "b"}', true, 'from where on?')
        returning id, name, settings ->> 'topic' as topic
    ), places as (
        insert into outbox.source_position
            (source_id, topic, partition, topic_id, next_offset, end_offset)
        select id, topic, 0, 'i', 10, 17 from made where name = 'well'
    )
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, header_names, header_values, reason, detail)
    select id, topic, 0, 1, '{}', '{}', 'refused', '' from made where name = 'asks'
"""


def test_inward_connectors_are_told_by_name(database_url: str, connection: Connection) -> None:
    connection.execute(MAKE)
    connection.execute(
        "select outbox.note_source_waiting(id, 'no broker') from outbox.source where name = 'well'"
    )
    told = {
        (sample.name.removeprefix("outbox_relay_source_"), sample.labels["connector"]): sample.value
        for metric in DatabaseCollector(settings(database_url)).collect()
        for sample in metric.samples
        if "connector" in sample.labels
    }
    assert told.pop(("moved_age_seconds", "well")) >= 0
    assert told == {
        ("waiting_records", "well"): 7,
        ("waiting_records", "asks"): 0,
        ("stopped", "well"): 0,
        ("stopped", "asks"): 1,
        ("away", "well"): 1,
        ("away", "asks"): 0,
        ("dead_letters", "well"): 0,
        ("dead_letters", "asks"): 1,
    }


def test_a_cluster_that_tells_the_highest_ends_breaks_no_list(connection: Connection) -> None:
    """Of all other connectors, and of who is on call."""
    connection.execute(MAKE)
    connection.execute(
        "insert into outbox.source_position"
        " (source_id, topic, partition, topic_id, next_offset, end_offset)"
        " select id, 'a', partition, 'i', 0, 9223372036854775807"
        " from outbox.source cross join generate_series(1, 2) as partition where name = 'well'"
    )
    [(lag,)] = connection.execute(
        "select lag from outbox.source_state where name = 'well'"
    ).fetchall()
    assert lag == 2**63 - 1
