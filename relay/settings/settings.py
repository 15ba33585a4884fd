"""The relay's settings: read once from the environment, checked as a whole, frozen."""

import os
import re
import socket
import zlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult

import msgspec

from relay.addresses import Network
from relay.settings import (
    credentials,
    database_url,
    destinations,
    environment,
    secret_keys,
    variables,
)
from relay.settings import kafka as kafka_properties
from relay.settings.credentials import Credential
from relay.settings.destinations import AllowedHosts
from relay.settings.error import SettingsError


def _default_name() -> str:
    pid = str(os.getpid())
    host = re.sub(r"[^!-~]", "", socket.gethostname()) or "relay"
    room = 31 - len(pid)
    if len(host) > room:
        # What tells it from others may be at its end, and in a container every pid is 1.
        host = f"{host[: room - 9]}-{zlib.crc32(host.encode()):08x}"
    return f"{host}-{pid}"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay process runs with.

    Every field but the first five comes from RELAY_<FIELD>, and its description says what fits.
    """

    database_url: str
    # librdkafka's own property names and values; empty where a command needs no Kafka.
    kafka: dict[str, str]
    # OUTBOX_SECRET_KEY, newest first; empty where secrets are not sealed.
    secret_keys: tuple[str, ...] = ()
    # The variables RELAY_CREDENTIALS_<NAME>_<PART>.
    credentials: Credential = msgspec.field(default_factory=Credential)
    # What was in the environment and is left aside, a sentence each, for the log.
    ignored: tuple[str, ...] = ()

    # A topic's name has 249 characters, and a channel takes up to 200 of them.
    topic_prefix: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9._-]{0,49}\Z",
            description="at most 49 letters, digits, '.', '_' or '-', put before every topic",
        ),
    ] = ""
    event_source: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,255}\Z",
            description="a URI reference of at most 255 characters: the CloudEvents source",
        ),
    ] = "/outbox"
    event_types_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~:@!$&'()*+,;=%/-]*)?)?\Z",
            max_length=500,
            description="where consumers read the event types, https://HOST/v1/event-types: "
            "begins the CloudEvents dataschema; unset: there is none",
        ),
    ] = ""
    retention_days: Annotated[
        int, msgspec.Meta(ge=1, le=3650, description="whole days, 1 to 3650")
    ] = 7
    audit_days: Annotated[int, msgspec.Meta(ge=1, le=3650, description="whole days, 1 to 3650")] = (
        365
    )
    host: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9.:_-]{1,255}\Z",
            description="the address that metrics and health listen on",
        ),
    ] = "127.0.0.1"
    port: (
        Annotated[
            int,
            msgspec.Meta(
                ge=1,
                le=65535,
                description="the port of metrics and health, 1 to 65535; unset: none",
            ),
        ]
        | None
    ) = None
    # 32, so that the relay's application_name with a cursor's id fits Postgres's 63 bytes.
    name: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[!-~]{1,32}\Z",
            description="1 to 32 printable ASCII characters without a blank: this relay's name",
        ),
    ] = msgspec.field(default_factory=_default_name)
    barrier_seconds: Annotated[
        float,
        msgspec.Meta(ge=1, le=300, description="1 to 300: how long a run may wait for the broker"),
    ] = 10.0
    push_connections: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1000,
            description="1 to 1000: how many runs to endpoints may hold a connection at once",
        ),
    ] = 10
    push_in_flight_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=16_777_216,
            le=1 << 40,
            description="16777216 to 1099511627776: what all open requests hold",
        ),
    ] = 134_217_728
    allow_networks: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="networks of endpoints besides the public ones: 10.1.0.0/16,::1",
        ),
    ] = ""
    deny_networks: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="networks that no endpoint or connector may be in: 192.0.2.0/24",
        ),
    ] = ""
    allow_hosts: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="where connectors may go besides public addresses, and where "
            "credentials without hosts may: kafka.internal:9092,*.kafka.internal,10.1.0.0/16, and "
            "queues: sqs.eu-central-1.amazonaws.com/123456789012",
        ),
    ] = ""
    allow_roles: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="roles that connectors may take on, by their ARNs: "
            "arn:aws:iam::123456789012:role/outbox",
        ),
    ] = ""
    credentials_directory: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="a folder of connectors' credentials: NAME/username, …/password, …/ca",
        ),
    ] = ""
    push_ports: Annotated[
        str,
        msgspec.Meta(
            max_length=4096,
            description="ports that endpoints may have: 443,8000-8999",
        ),
    ] = "80,443,1024-65535"
    push_https_only: Annotated[
        bool, msgspec.Meta(description="true or false: whether http:// endpoints are refused")
    ] = False
    push_proxy: Annotated[
        str,
        msgspec.Meta(
            max_length=2048,
            description="http://[user:password@]host:port: a proxy that knows CONNECT",
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        msgspec.Meta(description="debug, info, warning or error"),
    ] = "info"

    def __repr__(self) -> str:
        """Without the database's password, Kafka's secrets and keys: a traceback may be logged."""
        return f"Settings(name={self.name!r}, database={self.database!r})"

    @property
    def database(self) -> str:
        """Where the database is, `host:port/name`, for messages; never the password."""
        return database_url.place(self.database_url)

    @property
    def networks(self) -> tuple[Network, ...]:
        """What RELAY_ALLOW_NETWORKS names. Raises ValueError."""
        return destinations.networks(self.allow_networks)

    @property
    def denied_networks(self) -> tuple[Network, ...]:
        """What RELAY_DENY_NETWORKS names. Raises ValueError."""
        return destinations.networks(self.deny_networks)

    @property
    def hosts(self) -> tuple[AllowedHosts, ...]:
        """What RELAY_ALLOW_HOSTS names. Raises ValueError."""
        return destinations.hosts(self.allow_hosts)

    @property
    def roles(self) -> frozenset[str]:
        """What RELAY_ALLOW_ROLES names. Raises ValueError."""
        return destinations.roles(self.allow_roles)

    def credential(self, name: str, *needed: str) -> Credential:
        """The parts of a credential, read anew, the needed ones among them.

        Raises CredentialError.
        """
        found = credentials.read(name, self.credentials, self.credentials_directory)
        for part in needed:
            if part not in found:
                raise credentials.missing(name, part, self.credentials_directory)
        return found

    @property
    def ports(self) -> tuple[range, ...]:
        """What RELAY_PUSH_PORTS names. Raises ValueError."""
        return destinations.ports(self.push_ports)

    @property
    def proxy(self) -> SplitResult | None:
        """What RELAY_PUSH_PROXY names; its port is there. Raises ValueError."""
        return destinations.proxy(self.push_proxy)

    def require_kafka(self) -> "Settings":
        """These settings, for what needs Kafka.

        Raises SettingsError where the environment names no broker.
        """
        if "bootstrap.servers" not in self.kafka:
            hint = "write host:port,host:port, or pause the subscriptions of kind kafka"
            raise SettingsError([f"KAFKA_BOOTSTRAP_SERVERS is not set: {hint}"])
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads DATABASE_URL, OUTBOX_SECRET_KEY, KAFKA_* and RELAY_*.

        Raises SettingsError with every fault at once: each names its variable and the hint.
        """
        faults: list[str] = []
        environ = environment.read(environ, faults)
        if faults:
            raise SettingsError(faults)
        ignored, relay, kafka = environment.sort_out(environ)
        relay, found = credentials.split(relay, faults)
        values: dict[str, Any] = {
            "database_url": database_url.read(environ.get("DATABASE_URL", ""), faults),
            "kafka": kafka_properties.read(kafka, faults),
            "secret_keys": secret_keys.read(environ, faults),
            "credentials": found,
            "ignored": ignored,
            **variables.read(cls, relay, faults),
        }
        if faults:
            raise SettingsError(faults)
        settings = cls(**values)
        for name, read, hint in _PARSED:
            try:
                read(settings)
            except ValueError as wrong:
                faults.append(f"{name}: {wrong}: {hint}")
        if faults:
            raise SettingsError(faults)
        return settings


_NETWORKS = "write networks as 10.1.0.0/16,fd00::/8"
# What is more than its pattern says: read once, so that a mistake stops the start.
_PARSED: tuple[tuple[str, Callable[[Settings], object], str], ...] = (
    ("RELAY_ALLOW_NETWORKS", lambda settings: settings.networks, _NETWORKS),
    ("RELAY_DENY_NETWORKS", lambda settings: settings.denied_networks, _NETWORKS),
    (
        "RELAY_ALLOW_HOSTS",
        lambda settings: settings.hosts,
        "write hosts as kafka.internal:9092,*.kafka.internal,10.1.0.0/16,[fd00::/8]:9092",
    ),
    (
        "RELAY_ALLOW_ROLES",
        lambda settings: settings.roles,
        "write roles as arn:aws:iam::123456789012:role/outbox",
    ),
    ("RELAY_PUSH_PORTS", lambda settings: settings.ports, "write ports as 443,8000-8999"),
    ("RELAY_PUSH_PROXY", lambda settings: settings.proxy, "write http://user:password@host:3128"),
)
