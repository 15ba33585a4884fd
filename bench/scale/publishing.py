"""What one Postgres takes: orders by 1 to 16 writers, and what a message costs there."""

import msgspec

from bench import pgbench
from bench.model import Line, Message
from bench.scale.meter import Meter, log_bytes
from bench.scale.stage import Stage

WRITERS = (1, 2, 4, 8, 16)
PAYLOADS = (500, 1500)
TOGETHER = 5
CLIENTS = 4
CHANNEL = "bench.scale"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """By so many writers; per order, but for `orders`, which is a second's."""

    orders: float
    postgres_microseconds: float
    wal_bytes: float


def by_writers(stage: Stage, writers: int) -> Written:
    """As fast as they go, and nobody reads the log."""
    sizes = stage.sizes
    count = min(sizes.orders_of_a_writer * writers, sizes.most_orders)
    count -= count % writers
    stage.sale.make(stage.connection, count)
    meter = Meter(stage.arena, stage.connection, [])
    orders = stage.sale.pay(count, writers)
    used = meter.used()
    return Written(
        orders=orders,
        postgres_microseconds=used.postgres_seconds / count * 1e6,
        wal_bytes=used.wal_bytes / count,
    )


def message_cost(stage: Stage) -> Message:
    """Processor time by transactions of several messages and of one; bytes by two payloads."""
    one, several = (_publishes(stage, messages) for messages in (1, TOGETHER))
    small, large = (_filled(stage, payload_bytes) for payload_bytes in PAYLOADS)
    return Message(
        postgres_microseconds=max(several - one, 0) / (TOGETHER - 1),
        wal_bytes=Line.through(PAYLOADS[0], small[0], PAYLOADS[1], large[0]),
        disk_bytes=Line.through(PAYLOADS[0], small[1], PAYLOADS[1], large[1]),
    )


# A colon would begin a variable of pgbench's.
PUBLISH = (
    f"select outbox.publish('{CHANNEL}', 'bench', json_build_object('text', repeat('x', 485)), "
    "group_key => :g::text);"
)


def _publishes(stage: Stage, messages: int) -> float:
    """Microseconds of Postgres for each transaction."""
    path = stage.arena.directory / "publish.sql"
    lines = [r"\set g random(1, 1000)", r"\startpipeline", "begin;"]
    lines += [PUBLISH] * messages
    lines += ["commit;", r"\endpipeline"]
    path.write_text("\n".join(lines) + "\n")
    each = stage.sizes.publishes // CLIENTS
    meter = Meter(stage.arena, stage.connection, [])
    pgbench.rate(
        stage.arena.database_url, path, f"--client={CLIENTS}", "--jobs=2", f"--transactions={each}"
    )
    used = meter.used()
    stage.connection.execute("truncate outbox.message")
    return used.postgres_seconds / (each * CLIENTS) * 1e6


# Group keys are ids of orders, as the sale's are.
FILL = """
insert into outbox.message (channel, type, group_key, payload)
select %(channel)s, 'order.paid', gen_random_uuid()::text,
       convert_to(repeat('x', %(bytes)s), 'UTF8')
from generate_series(1, %(messages)s) as n
"""


def _filled(stage: Stage, payload_bytes: int) -> tuple[float, float]:
    """Bytes of WAL and on the disk, of each message."""
    connection, messages = stage.connection, stage.sizes.filled_messages
    connection.execute("truncate outbox.message")
    connection.execute("checkpoint")
    before = log_bytes(connection)
    meter = Meter(stage.arena, connection, [])
    values = {"channel": CHANNEL, "bytes": payload_bytes, "messages": messages}
    connection.execute(FILL, values)
    written, grown = meter.used().wal_bytes, log_bytes(connection) - before
    connection.execute("truncate outbox.message")
    return written / messages, grown / messages
