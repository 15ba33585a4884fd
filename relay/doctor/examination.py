"""Whether everything that a relay needs is in order; each finding with its hint."""

import time
from collections.abc import Generator, Iterator, Sequence

import confluent_kafka
import msgspec
import psycopg

from relay import migrations
from relay.database import Connection, connect, is_pooled, transaction
from relay.doctor import connectors as connector_findings
from relay.doctor import endpoints as http_findings
from relay.doctor import event_types, locks, log, roles, schemas, secrets
from relay.doctor import kafka as kafka_findings
from relay.doctor import sources as source_findings
from relay.doctor.finding import Finding, in_time, ok, too_long
from relay.monitoring.status import TIMEOUT
from relay.operate.table import printable
from relay.settings import Settings

MIN_POSTGRES, MAX_POSTGRES = 14, 18
# The wheel brings its own; confluent-kafka that was built from source may have found an older one.
MIN_LIBRDKAFKA = (2, 16)
MAX_CLOCK_DIFFERENCE_SECONDS = 5.0


# A relay elsewhere may have others, and then this says nothing about it.
THIS_SHELLS = (
    "Kafka, endpoints, secrets and retention were judged by the settings of this shell "
    "(KAFKA_*, RELAY_*, OUTBOX_SECRET_KEY): run it where the relay runs, as it runs"
)


# Each look waits no longer for a lock: where somebody keeps others from a table, many would.
LOCK_TIMEOUT = "select set_config('lock_timeout', '1s', true)"


class Outside(msgspec.Struct, frozen=True):
    """What the subscriptions need beyond the database; `kafka` None: the doctor does not ask."""

    kafka: kafka_findings.Wanted | None = kafka_findings.Wanted()
    endpoints: tuple[http_findings.Endpoint, ...] = ()
    connectors: tuple[connector_findings.Connector, ...] = ()
    sources: tuple[source_findings.Examined, ...] = ()


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything, in the order in which one would repair it. Every wait is bounded."""
    yield _librdkafka()
    outside = Outside()
    try:
        with connect(settings) as connection:
            yield _server_version(connection)
            pooler = _pooler(connection)
            yield pooler
            if pooler.level == "ok":
                with transaction(connection):
                    connection.execute(TIMEOUT)
                    connection.execute(LOCK_TIMEOUT)
                    outside = yield from _database(connection, settings)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as fault:
        yield too_long("database", fault)
    except psycopg.Error as fault:
        first = (str(fault).splitlines() or ["no answer"])[0]
        yield Finding(
            "fault",
            "database",
            f"{settings.database}: {first}",
            "start it, correct DATABASE_URL, or grant what is missing",
        )
    yield from http_findings.look_up(outside.endpoints, settings)
    if outside.kafka is not None:
        yield from kafka_findings.examine(settings, outside.kafka)
    yield from connector_findings.look_up(outside.connectors, settings)
    yield from source_findings.look_up(outside.sources, settings)
    yield ok("settings", THIS_SHELLS)


def _librdkafka() -> Finding:
    version, _ = confluent_kafka.libversion()
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    if numbers < MIN_LIBRDKAFKA:
        return Finding("fault", "librdkafka", version, "install confluent-kafka 2.16 or newer")
    return ok("librdkafka", version)


def _database(connection: Connection, settings: Settings) -> Generator[Finding, None, Outside]:
    """Returns what is wanted of the outside; nothing where it could not look that far."""
    # At first: what comes behind it reads tables, and may wait for them.
    yield from in_time(connection, "locks", locks.examine(connection))
    try:
        newer = migrations.check(connection)
    except migrations.MigrationError as fault:
        yield Finding("fault", "migrations", fault.fault, fault.hint)
        return Outside()
    yield _migrations(newer)
    reader = _reader(connection)
    rights = [reader] if reader is not None else _rights(connection)
    yield from rights
    yield from in_time(connection, "schemas", schemas.examine(connection))
    if any(finding.level == "fault" for finding in rights):
        return Outside()
    yield from log.examine(connection, settings)
    yield from in_time(connection, "roles", roles.examine(connection))
    yield from in_time(connection, "endpoints", http_findings.examine(connection))
    yield from in_time(connection, "event types", event_types.examine(connection))
    yield _clock(connection)
    if reader is not None:
        return Outside(kafka=None)
    yield from in_time(connection, "sources", source_findings.examine(connection))
    yield from in_time(connection, "secrets", secrets.examine(connection, settings))
    try:
        with connection.transaction():
            wanted = kafka_findings.wanted(connection, settings)
            return Outside(
                wanted,
                tuple(http_findings.endpoints(connection)),
                tuple(connector_findings.connectors(connection)),
                tuple(source_findings.sources(connection)),
            )
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as fault:
        yield too_long("subscriptions", fault)
        return Outside(kafka=None)


def _server_version(connection: Connection) -> Finding:
    major = connection.info.server_version // 10_000
    text = f"PostgreSQL {connection.info.parameter_status('server_version')}"
    if major < MIN_POSTGRES:
        return Finding("fault", "database", text, f"use {MIN_POSTGRES} to {MAX_POSTGRES}")
    if major > MAX_POSTGRES:
        return Finding(
            "warning", "database", f"{text} is untried", f"use {MIN_POSTGRES} to {MAX_POSTGRES}"
        )
    return ok("database", text)


BACKEND = "select pg_backend_pid()"


def _pooler(connection: Connection) -> Finding:
    """In statement mode it knows no BEGIN, or runs one transaction on several servers."""
    try:
        with transaction(connection):
            (first,) = connection.execute(BACKEND).fetchone() or (0,)
            (second,) = connection.execute(BACKEND).fetchone() or (0,)
    except psycopg.errors.ProtocolViolation as fault:
        # PgBouncer's word; it closes the connection besides.
        return _statement_mode(str(fault))
    if first != second:
        return _statement_mode("one transaction ran on two servers")
    if is_pooled(connection, first):
        return ok("pooler", "there is one, in session or transaction mode, and both are fine")
    return ok("pooler", "none")


def _statement_mode(text: str) -> Finding:
    return Finding(
        "fault",
        "pooler",
        text,
        "set pool_mode = transaction, or give the relay a direct connection",
    )


# What sql/roles.sql grants to outbox_relay, as far as a run cannot do without it.
MISSING_RIGHTS = """
    select wanted.object || ': ' || wanted.privilege
    from (values
        ('outbox.message', 'SELECT'), ('outbox.subscription', 'SELECT'),
        ('outbox.installation', 'SELECT'), ('outbox.cursor', 'SELECT'),
        ('outbox.cursor', 'INSERT'), ('outbox.checkpoint', 'SELECT'),
        ('outbox.checkpoint', 'INSERT'), ('outbox.dead_letter', 'SELECT'),
        ('outbox.dead_letter', 'INSERT'), ('outbox.delivery', 'SELECT'),
        ('outbox.delivery', 'INSERT'), ('outbox.delivery', 'DELETE'),
        ('outbox.secret', 'SELECT'), ('outbox.breaker', 'SELECT'), ('outbox.replay', 'SELECT'),
        ('outbox.attempt_log', 'INSERT'),
        ('outbox.breaker_state', 'SELECT'), ('outbox.delivery_summary', 'SELECT'),
        ('outbox.maintenance', 'SELECT'), ('outbox.source', 'SELECT'),
        ('outbox.source_position', 'SELECT'), ('outbox.source_position', 'INSERT'),
        ('outbox.source_queue', 'INSERT'), ('outbox.source_receipt', 'INSERT'),
        ('outbox.source_dead_letter', 'SELECT'), ('outbox.source_dead_letter', 'INSERT'),
        ('outbox.source_dead_letter', 'DELETE')
    ) as wanted (object, privilege)
    where not has_table_privilege(wanted.object, wanted.privilege)
    union all
    select wanted || ': UPDATE' from unnest(array['outbox.cursor', 'outbox.delivery',
                                                 'outbox.source_position']) as wanted
    where not has_any_column_privilege(wanted, 'UPDATE')
    union all
    select 'outbox.message: INSERT' where not has_any_column_privilege('outbox.message', 'INSERT')
    union all
    select wanted || ': EXECUTE'
    from unnest(array[
        'outbox.make_partitions(integer)', 'outbox.partition_state(integer)',
        'outbox.retire_partition(text, integer)', 'outbox.trim_checkpoints(interval, integer)',
        'outbox.trim_dead_letters(integer)', 'outbox.foreign_cluster()',
        'outbox.redrive(bigint[])', 'outbox.promote(bigint, text[])', 'outbox.clear_acked(bigint)',
        'outbox.delivery_state(timestamptz, bigint, text, integer)',
        'outbox.disable(bigint, text)', 'outbox.hold_half_open(bigint, bigint, float8)',
        'outbox.judge_breaker(bigint, bigint, bigint, bigint, float8, bigint, float8, float8)',
        'outbox.judge_half_open(bigint, bigint, boolean, boolean, float8, float8)',
        'outbox.take_rate(bigint)', 'outbox.turn_attempts(integer)',
        'outbox.partitions_left_out(integer, integer)', 'outbox.count_deliveries(bigint, integer)',
        'outbox.trim_idempotency(integer)', 'outbox.hold_maintenance()',
        'outbox.note_maintenance(text, text)', 'outbox.note_waiting(bigint, text)',
        'outbox.seal_secret(bigint, timestamptz, text, text)', 'outbox.tell_left_out()',
        'outbox.other_cluster(jsonb)', 'outbox.connector_topic(jsonb, text[])',
        'outbox.source_cluster(jsonb)', 'outbox.note_source_waiting(bigint, text)',
        'outbox.stop_source(bigint, text)', 'outbox.trim_receipts(integer)',
        'outbox.trim_audit(integer, integer, integer)',
        'outbox.hold_source(bigint)', 'outbox.take_answer_budget(bigint, integer[])'
    ]) as wanted
    where not has_function_privilege(wanted, 'EXECUTE')
"""
# Only a reader is meant: a login that is more has the rights of a relay, or should have them.
READER = """
    select current_user where pg_has_role(to_regrole('outbox_reader'), 'usage')
        and not pg_has_role(to_regrole('outbox_relay'), 'usage')
        and not pg_has_role(
            (select relowner from pg_class where oid = 'outbox.message'::regclass), 'usage')
"""
ROLE = "select current_user, rolsuper from pg_roles where rolname = current_user"


def _migrations(newer: Sequence[migrations.Applied]) -> Finding:
    if not newer:
        return ok("migrations", "all are in")
    names = ", ".join(str(one) for one in newer)
    return ok("migrations", f"all are in; this version works beside those of a newer one: {names}")


def _reader(connection: Connection) -> Finding | None:
    """What a reader can't see, where the session is one's."""
    found = connection.execute(READER).fetchone()
    if found is None:
        return None
    text = (
        f"{found[0]} only reads (outbox_reader): whether a relay has its rights, where endpoints "
        "lead, their secrets and Kafka are not looked at"
    )
    hint = "for a relay: grant outbox_relay to its login; and run this as that login"
    return Finding("warning", "rights", text, hint)


def _rights(connection: Connection) -> list[Finding]:
    role, superuser = connection.execute(ROLE).fetchone() or ("?", False)
    missing = [right for (right,) in connection.execute(MISSING_RIGHTS)]
    if missing:
        text = f"{role} lacks {', '.join(missing)}"
        return [Finding("fault", "rights", text, f"grant outbox_relay to {role} (sql/roles.sql)")]
    if superuser:
        text = f"{role} is a superuser, and a relay needs far less"
        hint = "connect as a login role with: grant outbox_relay to …"
        return [Finding("warning", "rights", text, hint)]
    return [ok("rights", f"{role} has what it needs")]


CLOCK = "select extract(epoch from clock_timestamp())::float8"


def _clock(connection: Connection) -> Finding:
    asked = time.time()
    (theirs,) = connection.execute(CLOCK).fetchone() or (asked,)
    # Their answer lies between our question and now.
    apart = max(asked - theirs, theirs - time.time(), 0.0)
    if apart > MAX_CLOCK_DIFFERENCE_SECONDS:
        text = f"this host's clock is {apart:.1f} s off the database's"
        return Finding("warning", "clock", f"{text}; only logs are dated by it", "run NTP on both")
    return ok("clock", "this host and the database agree")


def line(finding: Finding) -> str:
    """A finding for people, its hint below it."""
    told = f"{finding.level:<8} {finding.what:<13} {printable(finding.text)}"
    return f"{told}\n{'':<22} → {printable(finding.hint)}" if finding.hint else told
