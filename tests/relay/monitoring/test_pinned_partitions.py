"""A partition that an object depends on is named, with the object, and keeps no other one."""

from collections.abc import Callable

from prometheus_client import generate_latest

from relay.database import Connection
from relay.doctor import examination
from relay.monitoring import server as status_server
from relay.monitoring.telemetry import Telemetry
from tests.relay.monitoring.maintaining import maintain
from tests.relay.operating import outbox_relay, settings
from tests.sql.log import let_days_pass, pass_everything, publish, turn

PIN = "create view public.pin as select 'outbox.message_0'::regclass as it"
SENTENCE = "view public.pin depends on it"
PARTITIONS = """
    select inhrelid::regclass::text from pg_inherits
    where inhparent = 'outbox.message'::regclass order by 1
"""


def old_partitions(connection: Connection) -> None:
    """Two that nobody needs, the older one pinned."""
    for _ in range(2):
        publish(connection)
        turn(connection)
    let_days_pass(connection, 30)
    pass_everything(connection)
    connection.execute(PIN)


def test_the_others_are_dropped(connection: Connection, database_url: str) -> None:
    old_partitions(connection)
    maintain(database_url)
    maintain(database_url)
    left = [name for (name,) in connection.execute(PARTITIONS)]
    assert ("outbox.message_0" in left, "outbox.message_1" in left) == (True, False)


REFUSE = """
    create function public.refuse() returns event_trigger language plpgsql as $$
    begin
        if exists (
            select from pg_event_trigger_dropped_objects() where object_name = 'message_0'
        ) then
            raise exception 'not that one';
        end if;
    end $$;
    create event trigger refuse on sql_drop execute function public.refuse()
"""


def test_one_that_fails_for_whatever_reason_keeps_no_other(
    connection: Connection, database_url: str
) -> None:
    old_partitions(connection)
    connection.execute("drop view public.pin")
    connection.execute(REFUSE)
    maintain(database_url)
    maintain(database_url)
    left = [name for (name,) in connection.execute(PARTITIONS)]
    assert ("outbox.message_0" in left, "outbox.message_1" in left) == (True, False)
    noted = connection.execute("select fault from outbox.maintenance").fetchone()
    assert noted == ("outbox.retire_partition: not that one",)


def test_it_is_named_with_what_depends_on_it(
    connection: Connection, database_url: str, free_port: Callable[[], int]
) -> None:
    old_partitions(connection)
    maintain(database_url)
    maintain(database_url)
    noted = connection.execute("select fault from outbox.maintenance").fetchone()
    assert noted == (f"message_0 can't be dropped: {SENTENCE}",)
    findings = {one.text: one for one in examination.examine(settings(database_url))}
    finding = findings[f"message_0 is empty and can't be dropped: {SENTENCE}"]
    assert (finding.level, finding.what) == ("warning", "retention")
    assert "let its owner drop that" in finding.hint
    assert not any("other sessions hold" in text for text in findings)
    shown = outbox_relay("status", environment={"DATABASE_URL": database_url}).stdout
    assert SENTENCE in shown.partition("partition that can't be dropped")[2]
    metric = f'outbox_relay_pinned_partition{{partition="message_0",pinned_by="{SENTENCE}"}} 1.0'
    assert metric in metrics(database_url, free_port())
    connection.execute("drop view public.pin")
    maintain(database_url)
    assert "outbox_relay_pinned_partition{" not in metrics(database_url, free_port())


def metrics(database_url: str, port: int) -> str:
    telemetry = Telemetry()
    server = status_server.start(settings(database_url, RELAY_PORT=str(port)), telemetry)
    assert server is not None
    try:
        return generate_latest(telemetry.registry).decode()
    finally:
        server.close()
