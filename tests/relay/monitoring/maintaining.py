"""A round of maintenance, and what is told of it."""

import psycopg

from relay.daemon import retention
from relay.database import Connection
from relay.doctor import examination
from relay.doctor.finding import Finding
from relay.monitoring.telemetry import Telemetry
from tests.relay.operating import settings

LONG_AGO = "update outbox.maintenance set done_at = clock_timestamp() - interval '11 minutes'"
# A test's database is a copy, in which maintenance was done when the run of the tests began.
JUST_NOW = "update outbox.maintenance set done_at = clock_timestamp()"
AGE = "select extract(epoch from clock_timestamp() - done_at)::float8 from outbox.maintenance"


def seconds(connection: Connection) -> float:
    row = connection.execute(AGE).fetchone()
    assert row is not None
    return float(row[0])


def maintain(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as relay:
        retention.maintain(relay, settings(database_url, RELAY_NAME="relay-1"), Telemetry())


def found(database_url: str) -> Finding:
    (finding,) = [
        one for one in examination.examine(settings(database_url)) if one.what == "maintenance"
    ]
    return finding
