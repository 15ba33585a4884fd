"""Settings: read once from the environment, checked, and never changed."""

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
import psycopg
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict

from service import secret_keys
from service.process.utf8 import utf8

PREFIX = "SERVICE_"

# Kubernetes injects these into every pod beside a Service called `service`.
INJECTED = (
    "SERVICE_SERVICE_HOST",
    "SERVICE_SERVICE_PORT",
    "SERVICE_PORT_",
)


ALL_HOSTS = ("*",)

# An address or a name, in brackets where it has colons, and no port.
_HOST = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


class SettingsError(Exception):
    """The environment does not fit; the message names the setting and how to correct it."""


# A broker as host:port, and before it how it is spoken to.
_KAFKA_SERVER = re.compile(
    r"(?:(kafka|kafka-secure)://)?((?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})"
)
_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,49}")


class KafkaServer(msgspec.Struct, frozen=True):
    """A broker that consumers connect to, and whether by TLS, in the words of AsyncAPI."""

    host: str
    protocol: Literal["kafka", "kafka-secure"] = "kafka"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the service is told from outside.

    `webhook_secret` is the decoded key, None where signatures are not asked for. `secret_key` is
    the newest of OUTBOX_SECRET_KEY, None where endpoints' secrets are stored as they are. `hosts`
    are the names that the service answers to, in lower case: `shop.example.com`,
    `*.example.com`, or `*`. `forwarded_allow_ips` are the proxies whose X-Forwarded-For is
    believed: addresses and networks. `payments` is None where the database decides.

    `kafka_servers` and `topic_prefix` are what the AsyncAPI document says of Kafka: the service
    itself connects to none. `catalogue` says whether its pages ask for a key; `console`, whether
    there is one.
    """

    database_url: str
    webhook_secret: bytes | None = None
    secret_key: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 10
    database_timeout_seconds: Annotated[float, Meta(gt=0, le=60)] = 5.0
    # payment.success repeats parts of the order's body, and a message holds at most 983,040 bytes.
    max_body_bytes: Annotated[int, Meta(ge=1024, le=524_288)] = 262_144
    # A webhook that comes again later than this has its effect again.
    received_days: Annotated[int, Meta(ge=1, le=3650)] = 180
    max_connections: Annotated[int, Meta(ge=10, le=1_000_000)] = 2000
    client_timeout_seconds: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    hosts: tuple[str, ...] = ALL_HOSTS
    forwarded_allow_ips: tuple[str, ...] = ()
    payments: bool | None = None
    catalogue: Literal["key", "public"] = "key"
    console: bool = False
    kafka_servers: tuple[KafkaServer, ...] = ()
    topic_prefix: str = ""

    def __repr__(self) -> str:
        """Neither the database's password nor a secret or key belongs into a log."""
        return f"Settings(host={self.host!r}, port={self.port})"


TEXTS = (
    "SERVICE_HOST",
    "SERVICE_HOSTS",
    "SERVICE_FORWARDED_ALLOW_IPS",
    "SERVICE_PAYMENTS",
    "SERVICE_CATALOGUE",
    "SERVICE_CONSOLE",
    "SERVICE_KAFKA_SERVERS",
    "SERVICE_TOPIC_PREFIX",
)
SWITCHES = {"on": True, "off": False}
NUMBERS: dict[str, Callable[[str], int | float]] = {
    "SERVICE_PORT": int,
    "SERVICE_POOL_SIZE": int,
    "SERVICE_DATABASE_TIMEOUT_SECONDS": float,
    "SERVICE_MAX_BODY_BYTES": int,
    "SERVICE_RECEIVED_DAYS": int,
    "SERVICE_MAX_CONNECTIONS": int,
    "SERVICE_CLIENT_TIMEOUT_SECONDS": float,
}


def from_environment(environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, and the names that were ignored because Kubernetes injects them.

    Raises SettingsError naming the first setting that is unknown, missing or malformed.
    """
    values: dict[str, object] = {}
    ignored = []
    environment = _read(environment)
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        if _is_injected(name, value):
            ignored.append(name)
        elif name in NUMBERS:
            values[_field(name)] = _number(name, value)
        elif name == "SERVICE_HOST":
            values["host"] = value
        elif name == "SERVICE_HOSTS":
            values["hosts"] = _hosts(value)
        elif name == "SERVICE_FORWARDED_ALLOW_IPS":
            values["forwarded_allow_ips"] = _networks(name, value)
        elif name == "SERVICE_PAYMENTS":
            values["payments"] = _switch(name, value)
        elif name == "SERVICE_CONSOLE":
            values["console"] = _switch(name, value)
        elif name == "SERVICE_CATALOGUE":
            values["catalogue"] = value
        elif name == "SERVICE_KAFKA_SERVERS":
            values["kafka_servers"] = _kafka_servers(name, value)
        elif name == "SERVICE_TOPIC_PREFIX":
            values["topic_prefix"] = _topic_prefix(name, value)
        else:
            known = ", ".join([*TEXTS, *NUMBERS])
            raise SettingsError(f"{name} is not a setting of this service; known are {known}")
    values["database_url"] = _database_url(environment.get("DATABASE_URL", ""))
    if secret := environment.get("WEBHOOK_SECRET"):
        values["webhook_secret"] = _webhook_secret(secret)
    values["secret_key"] = _secret_key(environment)
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise SettingsError(f"{PREFIX}{path.rstrip('`').upper()}: {reason}") from None
    if not values.get("hosts"):
        settings = msgspec.structs.replace(settings, hosts=_default_hosts(settings.host))
    return settings, ignored


def _read(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the environment is the service's, as text.

    Without a line's end: the file or secret that a value is read from mostly has one, which is
    not meant.
    """
    texts = {}
    for name, value in environment.items():
        if name.startswith((PREFIX, "WEBHOOK_", "OUTBOX_")) or name == "DATABASE_URL":
            try:
                texts[name] = utf8(value).rstrip("\r\n")
            except ValueError:
                raise SettingsError(f"{name} is not UTF-8; write it so") from None
    return texts


def _default_hosts(address: str) -> tuple[str, ...]:
    """All on loopback. Elsewhere the names are said, or any page that a browser shows may call."""
    if not is_loopback(address):
        raise SettingsError(
            f"SERVICE_HOSTS is not set, and SERVICE_HOST is {address!r}, which is not loopback; "
            "give the names that callers use (api.example.com,*.internal), or * for all"
        )
    return ALL_HOSTS


def is_loopback(address: str) -> bool:
    """Whether this address, or name, is this machine's own, which no other reaches."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _hosts(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower().rstrip(".") for name in value.split(",") if name.strip())
    for name in names:
        if not _HOST.fullmatch(name):
            raise SettingsError(
                f"SERVICE_HOSTS: {name!r} is no host's name; give api.example.com, *.example.com, "
                "10.0.0.7 or [::1], without a port, with commas between"
            )
    return names


def _networks(name: str, value: str) -> tuple[str, ...]:
    given = tuple(one.strip() for one in value.split(",") if one.strip())
    for one in given:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise SettingsError(
                f"{name}: {error}; give your proxies' addresses or networks, such as 10.0.0.7 or "
                "10.20.0.0/16, with commas between"
            ) from None
    return given


def _switch(name: str, value: str) -> bool:
    if value not in SWITCHES:
        raise SettingsError(f"{name} must be on or off, not {value!r}")
    return SWITCHES[value]


def _kafka_servers(name: str, value: str) -> tuple[KafkaServer, ...]:
    servers = []
    for one in (part.strip() for part in value.split(",")):
        if not one:
            continue
        if not (found := _KAFKA_SERVER.fullmatch(one)):
            raise SettingsError(
                f"{name}: {one!r} is no broker; give kafka.example.com:9092, or "
                "kafka-secure://kafka.example.com:9093 where it takes TLS, with commas between"
            )
        protocol: Literal["kafka", "kafka-secure"] = (
            "kafka-secure" if found[1] == "kafka-secure" else "kafka"
        )
        servers.append(KafkaServer(found[2], protocol))
    return tuple(servers)


def _topic_prefix(name: str, value: str) -> str:
    if not _TOPIC_PREFIX.fullmatch(value):
        raise SettingsError(
            f"{name} must be at most 49 letters, digits, dots, dashes and underscores"
        )
    return value


def _is_injected(name: str, value: str) -> bool:
    return name.startswith(INJECTED) or (name == "SERVICE_PORT" and value.startswith("tcp://"))


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _number(name: str, value: str) -> int | float:
    try:
        return NUMBERS[name](value)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {value!r}") from None


def _database_url(value: str) -> str:
    if not value:
        raise SettingsError("DATABASE_URL is not set; give it as postgresql://user@host/database")
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError:
        # libpq's own message would repeat what was written, password and all.
        raise SettingsError(
            "DATABASE_URL is malformed; give it as postgresql://user@host/database"
        ) from None
    return value


# A slip in the name would leave every secret unsealed, and no message would say so.
SLIP = re.compile(r"OUTBOX_SECRETS?_?KEYS?(_FILE)?")


def _secret_key(environment: Mapping[str, str]) -> str | None:
    for name in environment:
        if SLIP.fullmatch(name) and name != "OUTBOX_SECRET_KEY":
            raise SettingsError(f"{name} is not a setting; write OUTBOX_SECRET_KEY")
    try:
        return secret_keys.newest(environment.get("OUTBOX_SECRET_KEY", ""))
    except ValueError as error:
        raise SettingsError(f"OUTBOX_SECRET_KEY: {error}") from None


def _webhook_secret(value: str) -> bytes:
    try:
        secret = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = b""
    # New secrets have 24 bytes at least, but the specification's own example has 18.
    if not 16 <= len(secret) <= 64:
        raise SettingsError("WEBHOOK_SECRET must be whsec_ and the base64 of 16 to 64 bytes")
    return secret
