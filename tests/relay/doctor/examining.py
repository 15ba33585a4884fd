"""What the doctor finds."""

from relay.database import Connection
from relay.doctor import examination
from relay.doctor.finding import Finding
from relay.operate import subscription
from tests.relay.operating import settings

NO_BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


def findings(database_url: str, **environment: str) -> list[Finding]:
    return list(examination.examine(settings(database_url, **{**NO_BROKER, **environment})))


def found(database_url: str, what: str) -> Finding:
    (finding,) = [one for one in findings(database_url) if one.what == what]
    return finding


def subscribe(connection: Connection, endpoint: str) -> None:
    """Makes a subscription `billing` of channel `orders` to it."""
    subscription.add(connection, "billing", channels=["orders"], endpoint=endpoint, settings={})
