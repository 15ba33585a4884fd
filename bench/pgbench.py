"""Statements that pgbench runs: those of the service for one webhook, or a script."""

import re
import subprocess
from pathlib import Path
from typing import Final

from bench.arena import Arena, Connection
from bench.orders import SQL_ORDER_ID, TOTAL
from local.postgres_binaries import bin_dir
from service.database.transaction import BOUND, Transaction
from service.payments.completion import GIVE_POINTS, PAY, USE_ALLOCATIONS
from service.payments.live import updates
from service.payments.webhook.received import CHECKS, ITEMS, LOCK, REMEMBER

TIMEOUT_SECONDS = 120
PARAMETER = re.compile(r"%\((\w+)\)s")
TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)

# pgbench knows numbers only, so an order's id is computed from one. What the service computes
# between its statements is constant here.
VALUES: Final = {
    "milliseconds": "'5000'",
    "order_id": SQL_ORDER_ID,
    "check_id": "null",
    "key": "'SaleOrder ' || :n || ' ATTEMPT_SUCCESS attempt 00000000-0000-4000-8002-0000000'",
    "event": "'ATTEMPT_SUCCESS'",
    "status": "'COMPLETED'",
    "paid": TOTAL,
    "is_fully_paid": "true",
    "now": "now()",
    "customer_id": "'customer'",
    "points": "25",
    "group_key": f"{SQL_ORDER_ID}::text",
    "headers": "null",
}


def measure(
    arena: Arena, connection: Connection, first: int, count: int, clients: int, *, pipelined: bool
) -> float:
    """Transactions per second, each of one order; messages as the service wrote its last ones.

    `pipelined`: in two pipelines, as the service sends them; else each waits for its answer.
    """
    script = write_script(arena, connection, pipelined=pipelined)
    return pay(arena.database_url, script, first, count, clients)


def write_script(arena: Arena, connection: Connection, *, pipelined: bool) -> Path:
    """A file of what the service does to complete an order, with the log's last three messages."""
    path = arena.directory / "webhook.sql"
    lines = _script(connection)
    if not pipelined:
        lines = [line for line in lines if not line.endswith("pipeline")]
    path.write_text("\n".join(lines) + "\n")
    return path


def pay(
    database_url: str, script: Path, first: int, count: int, clients: int, *options: str
) -> float:
    """Completes `count` orders, from the `first` on; transactions per second."""
    share = count // clients
    return rate(
        database_url, script,
        f"--client={clients}", "--jobs=2", f"--transactions={share}",
        f"--define=first={first}", f"--define=share={share}", "--define=i=0", *options,
    )  # fmt: skip


def rate(database_url: str, script: Path, *options: str) -> float:
    """Transactions per second. Raises RuntimeError with what pgbench said."""
    command: list[str | Path] = [
        bin_dir() / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={script}",
        *options, database_url,
    ]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    found = TPS.search(ended.stdout)
    if ended.returncode or found is None:
        raise RuntimeError(f"pgbench ended with {ended.returncode}: {ended.stderr}")
    return float(found[1])


LAST_MESSAGES = """
select channel, type, priority, convert_from(payload, 'UTF8')
from outbox.message
order by id desc
limit 3
"""


def _script(connection: Connection) -> list[str]:
    published = [_published(*row) for row in connection.execute(LAST_MESSAGES).fetchall()[::-1]]
    reading = [_filled(statement) for statement in (BOUND, LOCK, REMEMBER, CHECKS, ITEMS)]
    writing = [_filled(statement) for statement in (PAY, GIVE_POINTS, USE_ALLOCATIONS)]
    return [
        r"\set n :first + :client_id * :share + :i",
        r"\set i :i + 1",
        r"\startpipeline",
        "begin isolation level read committed;",
        *reading,
        r"\endpipeline",
        r"\startpipeline",
        *writing,
        *published,
        "commit;",
        r"\endpipeline",
    ]


def _published(channel: str, type_: str, priority: int, text: str) -> str:
    if channel == "outbox.live":
        return _filled(updates.PUBLISH, update=text)
    return _filled(
        Transaction.PUBLISH, channel=channel, type=type_, priority=priority, payload=text
    )


def _filled(statement: str, **constants: str | int) -> str:
    """The service's statement with pgbench's variables in place of its parameters."""
    values = {**VALUES, **{name: _literal(value) for name, value in constants.items()}}
    return PARAMETER.sub(lambda found: values[found[1]], statement.strip()) + ";"


def _literal(value: str | int) -> str:
    # pgbench would take a colon in a string for the beginning of a variable.
    text = str(value).replace("\\", "\\\\").replace("'", "''").replace(":", "\\x3a")
    return f"E'{text}'"
