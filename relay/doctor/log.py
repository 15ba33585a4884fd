"""What the doctor finds in the log: cursors, partitions, dead letters, who holds it back."""

from collections.abc import Iterator

from relay.daemon import retention
from relay.database import Connection
from relay.doctor.finding import Finding, in_time, ok
from relay.log.cluster import foreign_cluster
from relay.monitoring.status import maintenance, pinned_partitions
from relay.monitoring.table_locks import maintenance_locks
from relay.operate.table import duration
from relay.settings import Settings

LONG_TRANSACTION_SECONDS = 300.0


def examine(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Everything about the log. Needs the rights of outbox_relay; raises psycopg.Error."""
    looks = {
        "cluster": _foreign(connection),
        "ids": _sequence(connection),
        "cursors": _cursors(connection),
        "maintenance": _maintenance(connection),
        "partitions": _partitions(connection, settings),
        "horizon": _horizon(connection),
        "dead letters": _dead_letters(connection),
    }
    for what, look in looks.items():
        yield from in_time(connection, what, look)


def _foreign(connection: Connection) -> Iterator[Finding]:
    fault = foreign_cluster(connection)
    if fault is None:
        yield ok("cluster", "the log's transaction ids are this cluster's")
    else:
        hint = "if writers have run here: outbox-relay rebase --from TIME"
        yield Finding("fault", "cluster", fault, hint)


# A session that keeps ids for later writes them behind those that others have drawn meanwhile.
SEQUENCE = """
    select sequence.oid::regclass::text,
           seqcache = 1 and seqincrement > 0 and not seqcycle
    from pg_sequence
    join pg_class as sequence on sequence.oid = seqrelid
    where seqrelid = pg_get_serial_sequence('outbox.message', 'id')::regclass
"""


def _sequence(connection: Connection) -> Iterator[Finding]:
    name, in_order = connection.execute(SEQUENCE).fetchone() or ("outbox.message.id", False)
    if in_order:
        yield ok("ids", "drawn in the order of the writes")
    else:
        text = f"sequence {name} does not give ids in order: groups may be sent in another one"
        hint = f"alter sequence {name} increment 1 cache 1 no cycle, then end the writers' sessions"
        yield Finding("fault", "ids", text, hint)


INCOMPLETE_SUBSCRIPTIONS = """
    select subscription.name, count(cursor.id), subscription.shards * 5
    from outbox.subscription
    left join outbox.cursor
        on cursor.subscription_id = subscription.id and cursor.channel is null
    group by subscription.id
    having count(cursor.id) <> subscription.shards * 5
    limit 20
"""
# The latest 1,000 of each cursor: n is the fence between relays and has no gaps.
BROKEN_CHAINS = """
    select cursor.id, count(chain.n), coalesce(max(chain.n) - min(chain.n) + 1, 0)
    from outbox.cursor
    left join lateral (
        select n from outbox.checkpoint where cursor_id = cursor.id order by n desc limit 1000
    ) as chain on true
    group by cursor.id
    having count(chain.n) = 0 or count(chain.n) <> max(chain.n) - min(chain.n) + 1
    limit 20
"""
WAITING = """
    select subscription.name, cursor.channel, cursor.waiting_reason,
           extract(epoch from clock_timestamp() - min(cursor.waiting_since))::float8
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where cursor.waiting_since is not null
    group by subscription.name, cursor.channel, cursor.waiting_reason
    union all
    select name, null, waiting_reason,
           extract(epoch from clock_timestamp() - waiting_since)::float8
    from outbox.subscription where waiting_since is not null
    limit 20
"""
PAUSED = "select name, paused_reason from outbox.subscription where paused order by name limit 20"


def _cursors(connection: Connection) -> Iterator[Finding]:
    broken = False
    for name, found, wanted in connection.execute(INCOMPLETE_SUBSCRIPTIONS):
        broken = True
        text = f"subscription {name} has {found} cursors and needs {wanted}: messages pass it by"
        yield Finding(
            "fault", "cursors", text, "restore outbox.cursor, or make the subscription anew"
        )
    for cursor_id, found, wanted in connection.execute(BROKEN_CHAINS):
        broken = True
        text = f"cursor {cursor_id} has {found} checkpoints where its numbers say {wanted}"
        hint = "restore outbox.checkpoint; a repeat is safe: outbox-relay rebase --from TIME"
        yield Finding("fault", "cursors", text, hint)
    if not broken:
        yield ok("cursors", "complete, and their checkpoints without a gap")
    for name, channel, reason, seconds in connection.execute(WAITING):
        text = f"{channel or 'everything'} of {name} has waited for {duration(seconds)}: {reason}"
        hint = "make the topic or allow it; a mistyped one: outbox-relay channels drop"
        yield Finding(
            "warning", "waiting", text, hint if channel else "repair that; it goes on by itself"
        )
    for name, reason in connection.execute(PAUSED):
        text = f"{name} is paused ({reason or 'no reason given'}): its backlog stays in the log"
        hint = f"once its reason is gone: outbox-relay subscriptions resume {name}"
        yield Finding("warning", "paused", text, hint)


# The session that has held the partitions for the longest: the others come and go. The log's next
# one is not turned to while a transaction is open that is older, in whatever database of the
# cluster. A prepared transaction has no session, and stays until an operator ends it.
HELD_BY = """
    select format('session %s (%s)', activity.pid, activity.application_name),
           'has held some of the log for longest',
           format('select pg_terminate_backend(%s)', activity.pid), activity.xact_start as since
    from pg_locks as held
    join pg_stat_activity as activity on activity.pid = held.pid
    where activity.datname = current_database() and activity.pid <> pg_backend_pid()
      and held.granted and held.relation in (
        select relid from pg_partition_tree('outbox.message')
        union all select relid from pg_partition_tree('outbox.attempt_log'))
    union all
    select format('session %s (%s) in database %s', name, application_name, database),
           'is older than the log''s next partition, which waits for it',
           format('select pg_terminate_backend(%s)', name), held_since
    from outbox.turn_holder where kind = 'session'
    union all
    select format('prepared transaction %L in database %s', name, database),
           'is older than the log''s next partition, which waits for it',
           format('rollback prepared %L', name), held_since
    from outbox.turn_holder where kind = 'prepared transaction'
    union all
    select format('prepared transaction %L', gid), 'has held some of the log for longest',
           format('rollback prepared %L', gid), prepared
    from pg_prepared_xacts where database = current_database()
    order by since nulls last
    limit 1
"""


def _maintenance(connection: Connection) -> Iterator[Finding]:
    noted = maintenance(connection)
    failed = f"; the latest round failed: {noted.fault}" if noted.fault else ""
    ran = f"ran {duration(noted.age_seconds)} ago"
    if not noted.late and not failed:
        yield ok("maintenance", ran)
        return
    if noted.late:
        text = f"has not run for {duration(noted.age_seconds)}{failed}"
        hint = "keep a relay running; maintenance_failed in its log says what went wrong"
    else:
        text = ran + failed
        hint = "the relays' logs say more; after ten minutes it is an alarm"
    if noted.late and (locks := maintenance_locks(connection)):
        text = f"{text}; {locks[0]}"
        hint = f"unless it is a relay that works: select pg_terminate_backend({locks[0].pid})"
    elif retention.HELD in (noted.fault or ""):
        hint = "psql -q -f sql/inspect/horizon.sql names first who holds it"
        if holder := connection.execute(HELD_BY).fetchone():
            text = f"{text}; {holder[0]} {holder[1]}"
            hint = f"unless it is still needed: {holder[2]}"
    yield Finding("warning", "maintenance", text, hint)


PARTITION_STATE = """
    select partition, from_time is null, needed_by from outbox.partition_state(%s)
    where from_time is null or needed_by is not null
    order by partition
"""
MAX_BLOCKED_NAMED = 20
UNPIN = (
    "let its owner drop that; what is in pg_temp goes with the next round, or with its session "
    "where that uses it: end that one with pg_terminate_backend; of more than 100 objects none "
    "goes by itself, and docs/runbook.md says how to drop thousands"
)


def _partitions(connection: Connection, settings: Settings) -> Iterator[Finding]:
    found = connection.execute(PARTITION_STATE, (settings.retention_days,)).fetchall()
    ahead = sum(made_ahead for _, made_ahead, _ in found)
    text = f"{ahead} made ahead of the log's ids"
    if ahead:
        yield ok("partitions", text)
    else:
        hint = f"keep a relay running, or: select outbox.make_partitions({settings.retention_days})"
        yield Finding("warning", "partitions", text, hint)
    blocked = [(partition, needed_by) for partition, _, needed_by in found if needed_by is not None]
    for partition, needed_by in blocked[:MAX_BLOCKED_NAMED]:
        text = f"{partition} is past retention, {needed_by}: it fills the disk"
        yield Finding("warning", "retention", text, "see what holds that subscription up: status")
    for one in pinned_partitions(connection)[:MAX_BLOCKED_NAMED]:
        text = f"{one.partition} is empty and can't be dropped: {one.pinned_by}"
        yield Finding("warning", "retention", text, UNPIN)


HORIZON = """
    select kind, name, coalesce(application_name, ''), transactions_ago,
           extract(epoch from clock_timestamp() - held_since)::float8
    from outbox.horizon
    where held_since < clock_timestamp() - make_interval(secs => %s)
       or (kind = 'replication slot' and transactions_ago > 1000000)
    limit 20
"""


def _horizon(connection: Connection) -> Iterator[Finding]:
    """A relay does not wait for them; vacuum does, everywhere in the cluster."""
    held = connection.execute(HORIZON, (LONG_TRANSACTION_SECONDS,)).fetchall()
    for kind, name, application, transactions, seconds in held:
        since = f"for {duration(seconds)}" if seconds is not None else ""
        text = (
            f"{kind} {name} {application} holds vacuum back {since} ({transactions} transactions)"
        )
        hint = {
            "session": f"end it: select pg_terminate_backend({name.removeprefix('pid ')})",
            "prepared transaction": f"commit prepared '{name}' or rollback prepared '{name}'",
        }.get(kind, "read from the slot, or: select pg_drop_replication_slot(name)")
        yield Finding("warning", "horizon", " ".join(text.split()), hint)
    if not held:
        minutes = LONG_TRANSACTION_SECONDS / 60
        yield ok("horizon", f"no transaction holds vacuum back for more than {minutes:.0f} minutes")


DEAD_LETTERS = """
    select subscription, sum(waiting)::bigint from outbox.dead_letter_summary
    where waiting > 0 group by subscription order by subscription limit 20
"""


def _dead_letters(connection: Connection) -> Iterator[Finding]:
    waiting = connection.execute(DEAD_LETTERS).fetchall()
    for name, dead_letters in waiting:
        hint = f"outbox-relay dead-letters list --subscription {name}"
        text = f"{dead_letters} of {name} wait to be redriven"
        yield Finding("warning", "dead letters", text, hint)
    if not waiting:
        yield ok("dead letters", "none wait")
