"""The command `outbox-relay`."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version

import psycopg
import structlog
from psycopg import errors

from relay import migrations
from relay.commands import secrets
from relay.commands.arguments import words
from relay.commands.outcome import BAD_CONFIGURATION, FAULT, complain
from relay.database import EncodingError
from relay.operate.not_found import NotFoundError
from relay.operate.subscription import NameTakenError, UndeliveredError
from relay.process import logs, terminal
from relay.settings import Settings, SettingsError
from relay.settings.variables import described_fields, description

logger = structlog.get_logger()

# Sentences that say it all.
REFUSALS = (
    migrations.MigrationError,
    EncodingError,
    NotFoundError,
    NameTakenError,
    UndeliveredError,
)

Command = Callable[[Settings, argparse.Namespace], int]


def main() -> int:
    """Runs one command. Exit codes: 0 done, 1 fault, 2 bad configuration."""
    terminal.prepare()
    # As the first process of a container it would else be ignored; `run` has a way of its own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        written = words(sys.argv[1:])
    except ValueError as fault:
        return complain(BAD_CONFIGURATION, str(fault))
    named = [name for name in COMMANDS if written[:1] == [name]]
    arguments = parser(named or COMMANDS).parse_args(written)
    chosen: Command = arguments.command
    try:
        if chosen is secrets.new_key:
            # It is needed before there are any settings.
            return secrets.new_key()
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        for ignored in settings.ignored:
            logger.warning("setting_ignored", reason=ignored)
        code = chosen(settings, arguments)
        sys.stdout.flush()
        return code
    except SettingsError as fault:
        return complain(BAD_CONFIGURATION, *fault.faults)
    except REFUSALS as fault:
        return complain(FAULT, str(fault))
    except psycopg.Error as fault:
        return complain(FAULT, _told(fault, settings))
    except BrokenPipeError:
        # `outbox-relay status | head` has read enough, and Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    except KeyboardInterrupt:
        return FAULT


def _told(fault: psycopg.Error, settings: Settings) -> str:
    """What went wrong at the database, and the hint. libpq never quotes the password here."""
    first = (str(fault).splitlines() or [type(fault).__name__])[0]
    match fault:
        case errors.InsufficientPrivilege():
            return f"{first}: this command needs a role with more rights, see sql/roles.sql"
        case errors.LockNotAvailable():
            return (
                f"{first}: another session holds it; stop the writers, or try again. outbox-relay "
                "doctor names who keeps others from it for long"
            )
        case psycopg.OperationalError() if fault.sqlstate is None:
            return f"no database at {settings.database}: {first}. Check DATABASE_URL"
        case errors.DependentObjectsStillExist():
            detail = fault.diag.message_detail
            return f"the database says: {first}: {detail}. Drop that, or end the session it is of"
        case _:
            return f"the database says: {first}"


DESCRIPTION = """
Carries the messages of the outbox in a Postgres database to Kafka and to HTTP endpoints. Any number
of relays may run on one database: they share the work, and when one dies the others go on.
"""


def _environment() -> str:
    names = {
        "DATABASE_URL": "postgresql://user:password@host:5432/database; required",
        "KAFKA_BOOTSTRAP_SERVERS": "host:port,host:port; subscriptions of kind kafka need it",
        "OUTBOX_SECRET_KEY": "seals endpoints' secrets at rest: base64 keys, the newest first",
        "KAFKA_…": "any further librdkafka property, as KAFKA_SECURITY_PROTOCOL=SASL_SSL",
        "RELAY_CREDENTIALS_…": "parts of connectors' credentials: RELAY_CREDENTIALS_NAME_USERNAME, "
        "…_PASSWORD, …_CA, …_CERTIFICATE, …_KEY",
        "OTEL_…": "OpenTelemetry's own: spans go to OTEL_EXPORTER_OTLP_ENDPOINT, http://host:4318",
        **{name: description(field) for name, field in described_fields(Settings).items()},
    }
    lines = "\n".join(f"  {name:<27} {text}" for name, text in names.items())
    return f"environment:\n{lines}\n\nexit codes: 0 done, 1 fault, 2 bad configuration"


# Each is a module of relay.commands. Only the one that is called is imported: `run` and some others
# need all that carries messages, for which the rest would wait. `--help` imports them all.
COMMANDS = (
    "run",
    "migrate",
    "status",
    "subscriptions",
    "connectors",
    "channels",
    "catalogue",
    "secrets",
    "dead-letters",
    "trace",
    "replay",
    "rebase",
    "doctor",
)


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """These commands with their arguments."""
    whole = argparse.ArgumentParser(
        "outbox-relay",
        description=DESCRIPTION,
        epilog=_environment(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument(
        "--version", action="version", version=f"outbox-relay {version('outbox-relay')}"
    )
    subparsers = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in names:
        import_module(f"relay.commands.{name.replace('-', '_')}").add(subparsers)
    return whole
