"""Each role may do what its process does, and is refused everything else."""

import base64
from contextlib import suppress
from secrets import token_bytes

import pytest
from cryptography.fernet import Fernet
from psycopg import errors, sql

from tests.sql.conftest import Member
from tests.sql.log import SQL_DIRECTORY, Session, dead_letter, publish
from tests.sql.programs import psql

PUBLISH = "select outbox.publish('orders', 'event', '{}')"
INSERT = """
    insert into outbox.message
        (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    values ('orders', 'event', 'g', 1, 'k', '{"a": "b"}', 'text/plain', '')
"""
CHECKPOINT = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    values (1, 1, pg_current_snapshot(), 'relay')
"""
SET_ASIDE = """
    insert into outbox.cursor
        (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
    values (1, 0, 1, 'orders', clock_timestamp(), 'unknown topic')
"""
ADD_DEAD_LETTER = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, group_key,
         idempotency_key, headers, content_type, payload, created_at, reason, detail, attempts)
    select 1, 3, m.id, m.priority, m.channel, m.type, m.group_key, m.idempotency_key, m.headers,
           m.content_type, m.payload, m.created_at, 'too_large', '', 1
    from outbox.message as m
    on conflict (cursor_id, message_id) do update
        set attempts = dead_letter.attempts + 1, redriven_at = null
"""
COLUMNS_OF_VIEWS = """
    select relname, attname
    from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0
    where relnamespace = 'outbox'::regnamespace and relkind = 'v'
      and has_table_privilege('outbox_reader', pg_class.oid, 'select')
"""
ORDER = """
    insert into sale.sale_order
        (number, merchant_id, sale_channel_id, currency, total, created_by, modified_by)
    values ('1', 'm', 's', 'EUR', 1, 'c', 'c')
"""

READS_OF_THE_LOG = ["table outbox.message", "select id from outbox.message_0"]
WRITES_TO_THE_LOG = [
    "update outbox.message set xid = '3'",
    "delete from outbox.message",
    "truncate outbox.message",
    "insert into outbox.message_0 (channel, type, payload) values ('o', 'e', '')",
]
FORGERIES = [
    "insert into outbox.message (id, channel, type, payload) overriding system value"
    " values (1, 'o', 'e', '')",
    "insert into outbox.message (xid, channel, type, payload) values ('3', 'o', 'e', '')",
    "insert into outbox.message (created_at, channel, type, payload) values (now(), 'o', 'e', '')",
]
SUBSCRIPTIONS = [
    "update outbox.subscription set channels = '{}'",
    "insert into outbox.subscription (name) values ('mine')",
    "delete from outbox.subscription",
]
RELAYS_ALONE = [
    "table outbox.checkpoint",
    "select note_key from outbox.installation",
    CHECKPOINT,
    "select outbox.retire_partition('message_0', 0)",
    "select outbox.make_partitions()",
    "select * from outbox.rebase()",
    "select outbox.trim_checkpoints()",
    "select outbox.turn_attempts()",
    "select outbox.hold_maintenance()",
    "select outbox.note_maintenance('me', null)",
    "select outbox.note_waiting(1, 'me')",
    "select outbox.seal_secret(1, now(), 'gAAAA')",
    "select outbox.promote(1, '{}')",
    "select outbox.tell_left_out()",
    "update outbox.breaker set opened_at = null",
]
KEYS = [
    "table outbox.api_key",
    "insert into outbox.api_key (name, hash, scopes) values ('n', sha256(''), '{manage}')",
    "update outbox.api_key set revoked_at = null",
    "update outbox.api_key set expires_at = null, scopes = '{manage}', channels = null",
    "table outbox.api_key_use",
    "update outbox.api_key_use set last_used_at = clock_timestamp()",
    "delete from outbox.api_key_use",
    "delete from outbox.api_key",
    "select from outbox.api_key for update",
]
RELAYS_OWN = [*RELAYS_ALONE, "table outbox.dead_letter", "select outbox.redrive('{1}')"]
VIEWS = [
    "table outbox.cursor_position",
    "table outbox.cursor_backlog",
    "table outbox.subscription_backlog",
    "table outbox.dead_letter_summary",
    "table outbox.throughput",
    "table outbox.cursor_holder",
    "table outbox.horizon",
    "table outbox.delivery_summary",
    "table outbox.delivery_head",
    "table outbox.breaker_state",
    "table outbox.recent_attempt",
    "table outbox.maintenance",
    "select * from outbox.partition_state(7)",
    "select * from outbox.pending(1)",
]

MAY: dict[str, list[str]] = {
    "outbox_publisher": [
        PUBLISH,
        INSERT,
        "select outbox.publish_bytes('orders', 'event', '', 'text/plain')",
        "select outbox.publish('orders', 'event', '{}'::json)",
        "select outbox.publish('orders', 'event', '{}'::jsonb)",
        "select * from outbox.published_here()",
    ],
    "outbox_service": [
        PUBLISH,
        INSERT,
        "table outbox.message",
        ORDER,
        "select from sale.sale_order for update",
        "select from sale.sale_check for no key update",
        "update sale.sale_order set status = 'PROCESSING'",
        "update sale.allocation_usage set status = 'SUCCESS'",
        "table sale.received_webhook",
        "select sale.turn_received(180)",
        "table outbox.subscription",
        "table outbox.delivery",
        "table outbox.attempt",
        "select * from outbox.attempts_at(1)",
        "table outbox.breaker",
        "select outbox.subscribe('n', 'c', 'https://h/')",
        "select outbox.rotate_secret(max(id)) from outbox.subscription",
        "update outbox.subscription set paused = true, paused_reason = 'moving house'",
        "update outbox.subscription set paused = false, paused_reason = null",
        "update outbox.source set name = name, settings = settings, paused = false",
        "select outbox.redrive(array(select id from outbox.dead_letter))",
        "select outbox.trim_idempotency()",
        "select * from outbox.use_key(sha256(''))",
        "select sale.publish_update(gen_random_uuid(), '{}')",
        "table outbox.migration",
    ],
    "outbox_relay": [
        *VIEWS,
        "table outbox.message",
        # What comes in.
        INSERT,
        "table outbox.subscription",
        "table outbox.installation",
        "table outbox.migration",
        "select outbox.shard_of('g', 1, 4)",
        "select from outbox.cursor for no key update skip locked",
        CHECKPOINT,
        "delete from outbox.checkpoint where n < 0",
        SET_ASIDE,
        "update outbox.cursor set waiting_since = null, waiting_reason = null",
        ADD_DEAD_LETTER,
        "update outbox.dead_letter set delivered_at = null",
        "update outbox.delivery set due_at = clock_timestamp()",
        "delete from outbox.delivery",
        "select outbox.redrive(array(select id from outbox.dead_letter))",
        "select outbox.foreign_cluster()",
        "select outbox.make_partitions()",
        "select outbox.retire_partition(min(partition), 7) from outbox.partition_state(7)",
        "select outbox.trim_checkpoints()",
        "select outbox.trim_dead_letters(7)",
        "select outbox.turn_attempts()",
        "select outbox.trim_idempotency()",
        "table outbox.secret",
        "select outbox.seal_secret(1, now(), 'gAAAA')",
        "table outbox.maintenance",
        "select outbox.hold_maintenance()",
        "select outbox.note_maintenance('relay', null)",
        "select outbox.note_waiting(1, null)",
        "table outbox.breaker",
        "select outbox.replay('kafka', from_message_id => 1)",
        "select * from outbox.rebase()",
    ],
    "outbox_reader": [
        *VIEWS,
        "table outbox.checkpoint",
        "table outbox.cursor",
        "table outbox.migration",
        "select name, paused, waiting_reason from outbox.subscription",
        "select outbox.foreign_cluster()",
    ],
}
MUST_NOT: dict[str, list[str]] = {
    "outbox_publisher": [
        *READS_OF_THE_LOG,
        *WRITES_TO_THE_LOG,
        *FORGERIES,
        *SUBSCRIPTIONS,
        *RELAYS_OWN,
        *VIEWS,
        *KEYS,
        "select * from outbox.use_key(sha256(''))",
        "select sale.publish_update(gen_random_uuid(), '{}')",
        INSERT + " returning id",
        "table outbox.subscription",
        "table outbox.installation",
        "table sale.sale_order",
    ],
    "outbox_service": [
        *WRITES_TO_THE_LOG,
        *FORGERIES,
        *RELAYS_ALONE,
        "update outbox.subscription set kind = 'kafka'",
        "delete from outbox.subscription",
        "delete from outbox.source",
        "update outbox.source set channel = 'parcels'",
        "select 1; lock table outbox.source in share update exclusive mode",
        "delete from outbox.source_dead_letter",
        "table outbox.source_receipt",
        "table outbox.secret",
        *KEYS,
        "delete from sale.sale_order",
        "truncate sale.sale_order",
        "update sale.points_transaction set points = 1",
        "update sale.received_webhook set key = ''",
        "delete from sale.received_webhook",
        "select 1; lock table sale.received_webhook in share update exclusive mode",
    ],
    "outbox_relay": [
        PUBLISH,
        "select * from outbox.published_here()",
        *WRITES_TO_THE_LOG,
        *FORGERIES,
        *SUBSCRIPTIONS,
        "update outbox.cursor set priority = 1",
        "update outbox.checkpoint set n = 1",
        "update outbox.installation set id = gen_random_uuid()",
        "delete from outbox.migration",
        "delete from outbox.dead_letter",
        "delete from outbox.cursor",
        "update outbox.secret set key = sha256('')",
        "update outbox.secret set sealed = null",
        "delete from outbox.secret",
        "delete from outbox.source",
        "update outbox.source set paused = true",
        "delete from outbox.source_receipt",
        "update outbox.maintenance set done_at = now()",
        "select outbox.random_key()",
        "table outbox.attempt",
        "update outbox.breaker set opened_at = null",
        "select outbox.rotate_secret(1)",
        "select outbox.subscribe('n', 'c', 'https://h/')",
        *KEYS,
        "select * from outbox.use_key(sha256(''))",
        "select sale.publish_update(gen_random_uuid(), '{}')",
        "table sale.sale_order",
        ORDER,
    ],
    "outbox_reader": [
        PUBLISH,
        "select * from outbox.published_here()",
        INSERT,
        *READS_OF_THE_LOG,
        *WRITES_TO_THE_LOG,
        *SUBSCRIPTIONS,
        *(statement for statement in RELAYS_OWN if statement != "table outbox.checkpoint"),
        "table outbox.subscription",
        "select settings from outbox.subscription",
        "select from outbox.cursor for update",
        "table outbox.installation",
        "table outbox.delivery",
        "table outbox.attempt",
        "table outbox.attempt_log",
        "select * from outbox.attempts_at(1)",
        "table outbox.secret",
        "table outbox.breaker",
        "select outbox.turn_attempts()",
        "select outbox.replay('kafka', from_message_id => 1, dry_run => true)",
        "table outbox.known_partition",
        "table sale.sale_order",
    ],
}


@pytest.mark.parametrize("group", MAY)
def test_a_role_may_do_what_its_process_does(db: Session, member: Member, group: str) -> None:
    dead_letter(db, publish(db))
    session = member(group)
    for statement in MAY[group]:
        session.execute(statement.encode())


@pytest.mark.parametrize("group", MUST_NOT)
def test_a_role_is_refused_everything_else(db: Session, member: Member, group: str) -> None:
    dead_letter(db, publish(db))
    session = member(group)
    for statement in [*MUST_NOT[group], "create table outbox.mine ()", "create schema mine"]:
        try:
            session.execute(statement.encode())
        except errors.InsufficientPrivilege:
            continue
        pytest.fail(f"{group} was allowed: {statement}")


def test_no_other_role_may_anything(db: Session, member: Member) -> None:
    """Public: a role with no group at all."""
    other = member("pg_signal_backend")
    for statement in [PUBLISH, INSERT, *READS_OF_THE_LOG, *VIEWS, "select outbox.uuid7()"]:
        with pytest.raises(errors.InsufficientPrivilege):
            other.execute(statement.encode())


def test_the_roles_can_be_made_again(db: Session, any_database_url: str) -> None:
    db.execute((SQL_DIRECTORY / "roles.sql").read_bytes())
    assert psql(any_database_url, "-f", SQL_DIRECTORY / "roles.sql") == ""


# Every relation that the role may read some of: views of statistics are among them.
READABLE = """
    select format('select %s from %s limit 100000',
                  string_agg(quote_ident(attname), ', '), class.oid::regclass)
    from pg_class as class
    join pg_attribute on attrelid = class.oid and attnum > 0 and not attisdropped
    where relkind in ('r', 'p', 'v', 'm')
      and has_schema_privilege(relnamespace, 'USAGE')
      and has_column_privilege(class.oid, attnum, 'SELECT')
    group by class.oid
"""


def spellings(key: bytes) -> list[str]:
    """As what a key would be found."""
    return [base64.b64encode(key).decode(), key.hex()]


def readable(session: Session) -> str:
    """All that a session can read, of every relation of every schema."""
    found = []
    for (statement,) in session.execute(READABLE).fetchall():
        with suppress(errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState):
            rows = session.execute(statement.encode()).fetchall()
            found.append(str(rows))
            found += [one.hex() for row in rows for one in row if isinstance(one, bytes)]
    return "\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_service", "outbox_reader"])
def test_nothing_that_a_role_may_read_holds_a_secret(
    db: Session, member: Member, group: str
) -> None:
    """Neither the tables nor the planner's statistics about them."""
    for number in range(200):
        db.execute("select outbox.subscribe(%s, 'c', 'https://h/')", [f"plain-{number}"])
    sealed = Fernet(Fernet.generate_key()).encrypt(token_bytes(32)).decode()
    db.execute("select outbox.subscribe('sealed', 'c', 'https://h/', sealed => %s)", [sealed])
    db.execute("analyze outbox.secret")
    keys = [key for (key,) in db.execute("select key from outbox.secret") if key is not None]
    wanted = {sealed, *(text for key in keys for text in spellings(key))}
    # The owner's statistics have them: this test can fail.
    statistics = str(db.execute("select histogram_bounds::text from pg_stats").fetchall())
    assert any(text in statistics for text in wanted)
    session = member(group)
    seen = readable(session)
    assert "plain-7" in seen or group == "outbox_publisher"
    assert [text for text in wanted if text in seen] == []


def test_no_function_of_a_readers_sees_what_a_view_leaves_out(db: Session, member: Member) -> None:
    """One that costs little is asked before a view's own conditions, without a barrier."""
    db.execute("select outbox.subscribe('shop', 'c', 'https://receiver.example/?token=t0ken')")
    reader = member("outbox_reader")
    reader.execute(
        """
        create function pg_temp.shown(value anyelement) returns boolean
        language plpgsql cost 0.0000001 as $$ begin raise notice '%', value; return true; end $$
        """
    )
    told: list[str] = []
    reader.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    for view, column in db.execute(COLUMNS_OF_VIEWS).fetchall():
        query = sql.SQL("select from outbox.{} where pg_temp.shown({})")
        reader.execute(query.format(sql.Identifier(view), sql.Identifier(column)))
    reader.execute("drop function pg_temp.shown(anyelement)")
    assert "shop" in told
    assert [line for line in told if "t0ken" in line] == []


def test_reading_shows_no_payload_header_or_setting(db: Session) -> None:
    hidden = """
        select table_name, column_name from information_schema.columns
        join information_schema.role_table_grants using (table_schema, table_name)
        where grantee = 'outbox_reader' and table_schema = 'outbox'
          and column_name in ('payload', 'headers', 'settings', 'idempotency_key', 'detail',
                              'answer')
    """
    assert db.execute(hidden).fetchall() == []
