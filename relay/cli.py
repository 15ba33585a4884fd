"""The command `outbox-relay`."""

import argparse
import os
import signal
import sys
from collections.abc import Callable

import psycopg
import structlog
from psycopg import errors

from relay import migrations
from relay.commands import commands, subscriptions
from relay.commands.arguments import Subparsers, command, identity, limit, setting, time, words
from relay.daemon.relay import Refused, StuckError
from relay.database import EncodingError
from relay.operate.not_found import NotFoundError
from relay.operate.subscription import UndeliveredError
from relay.operate.subscriptions import NameTakenError
from relay.process import logs, terminal
from relay.settings import Settings, SettingsError, described_fields, description

logger = structlog.get_logger()

# Sentences that say it all.
REFUSALS = (
    migrations.MigrationError,
    EncodingError,
    Refused,
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
        return commands.complain(commands.BAD_CONFIGURATION, str(fault))
    arguments = _parser().parse_args(written)
    chosen: Command = arguments.command
    try:
        if chosen is commands.new_secret_key:
            # Whoever asks for it may have nothing set yet.
            return commands.new_secret_key()
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        for ignored in settings.ignored:
            logger.warning("setting_ignored", reason=ignored)
        code = chosen(settings, arguments)
        sys.stdout.flush()
        return code
    except SettingsError as fault:
        return commands.complain(commands.BAD_CONFIGURATION, *fault.faults)
    except REFUSALS as fault:
        return commands.complain(commands.FAULT, str(fault))
    except psycopg.Error as fault:
        return commands.complain(commands.FAULT, _told(fault, settings))
    except StuckError as fault:
        # At its end Python would wait for what librdkafka's threads hold.
        os._exit(commands.complain(commands.FAULT, str(fault)))
    except BrokenPipeError:
        # `outbox-relay status | head`: nobody reads on, and Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.FAULT
    except KeyboardInterrupt:
        return commands.FAULT


def _told(fault: psycopg.Error, settings: Settings) -> str:
    """What went wrong at the database, and the hint. libpq never quotes the password here."""
    first = (str(fault).splitlines() or [type(fault).__name__])[0]
    match fault:
        case errors.InsufficientPrivilege():
            return f"{first}: this command needs a role with more rights, see sql/roles.sql"
        case errors.LockNotAvailable():
            return f"{first}: somebody else holds it; stop the writers, or try again"
        case psycopg.OperationalError() if fault.sqlstate is None:
            return f"no database at {settings.database}: {first}. Check DATABASE_URL"
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
        **{name: description(field) for name, field in described_fields().items()},
    }
    lines = "\n".join(f"  {name:<27} {text}" for name, text in names.items())
    return f"environment:\n{lines}\n\nexit codes: 0 done, 1 fault, 2 bad configuration"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "outbox-relay",
        description=DESCRIPTION,
        epilog=_environment(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = command(
        subparsers,
        "run",
        "publish messages until SIGTERM or SIGINT",
        "outbox-relay run",
        "outbox-relay run --once   # from cron, or at the end of a test",
    )
    run.set_defaults(command=commands.run)
    run.add_argument(
        "--once",
        action="store_true",
        help="until nothing more can go now; exit 1 if something is left that can't go",
    )
    migrate = command(
        subparsers,
        "migrate",
        "make or update the schema; safe to run again, and from many places at once",
        "outbox-relay migrate --outbox-only",
    )
    migrate.set_defaults(command=commands.migrate)
    migrate.add_argument(
        "--outbox-only", action="store_true", help="without the tables for payments"
    )
    status = command(
        subparsers,
        "status",
        "tell what waits, what moved lately, who works on what",
        "outbox-relay status",
        "outbox-relay status --json | jq .backlog",
    )
    status.set_defaults(command=commands.show_status)
    status.add_argument("--json", action="store_true", help="one JSON object")
    _add_subscriptions(subparsers)
    _add_channels(subparsers)
    _add_secrets(subparsers)
    _add_dead_letters(subparsers)
    _add_replay(subparsers)
    rebase = command(
        subparsers,
        "rebase",
        "give the log this cluster's transaction ids, after a restored dump or pg_upgrade",
        "outbox-relay rebase                               # before any writer starts",
        "outbox-relay rebase --from 2026-03-01T09:00:00Z   # writers ran first",
    )
    rebase.set_defaults(command=commands.rebase_cursors)
    rebase.add_argument(
        "--from",
        dest="repeat_from",
        type=time,
        metavar="TIME",
        help="send again what was written since then; ISO 8601 with an offset",
    )
    doctor = command(
        subparsers,
        "doctor",
        "examine database, rights, log and Kafka; each finding with its hint",
        "outbox-relay doctor || echo 'a relay would not do its work here'",
    )
    doctor.set_defaults(command=commands.examine)
    return parser


def _add_channels(parent: Subparsers) -> None:
    channels = command(
        parent,
        "channels",
        "list the channels that wait for their topics, or give one up",
        "outbox-relay channels list",
    )
    subparsers = channels.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = command(
        subparsers,
        "list",
        "list the channels that wait: since when, why, and how many messages with them",
        "outbox-relay channels list",
        "outbox-relay channels list --json | jq -r '.[].channel'",
    )
    listing.set_defaults(command=commands.list_channels)
    listing.add_argument("--json", action="store_true", help="one JSON array")
    dropping = command(
        subparsers,
        "drop",
        "pass over for ever what a channel that waits has by now; what comes later waits again",
        "outbox-relay channels drop oders --dry-run",
        "outbox-relay channels drop oders --subscription kafka",
    )
    dropping.set_defaults(command=commands.drop_channel)
    dropping.add_argument("channel", metavar="CHANNEL")
    dropping.add_argument("--subscription", metavar="NAME", help="in this one only")
    dropping.add_argument("--dry-run", action="store_true", help="only tell how many they are")


def _add_dead_letters(parent: Subparsers) -> None:
    letters = command(
        parent,
        "dead-letters",
        "list, inspect and redrive what was given up",
        "outbox-relay dead-letters list",
    )
    subparsers = letters.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = command(
        subparsers,
        "list",
        "list the letters that are not delivered, in the order of their publishing",
        "outbox-relay dead-letters list --subscription kafka --reason MSG_SIZE_TOO_LARGE",
    )
    listing.set_defaults(command=commands.list_letters)
    listing.add_argument("--subscription", metavar="NAME")
    _add_filter(listing)
    listing.add_argument("--limit", type=limit, default=50, help="1 to 100,000; 50 by default")
    showing = command(
        subparsers,
        "show",
        "show one letter with its headers and its payload",
        "outbox-relay dead-letters show 17",
    )
    showing.set_defaults(command=commands.show_letter)
    showing.add_argument("id", type=identity)
    redriving = command(
        subparsers,
        "redrive",
        "send letters again, to their own subscription only and in their order",
        "outbox-relay dead-letters redrive 17 18",
        "outbox-relay dead-letters redrive --all --subscription billing --type invoice.sent",
    )
    redriving.set_defaults(command=commands.redrive)
    redriving.add_argument("ids", type=identity, nargs="*", metavar="ID")
    redriving.add_argument("--all", action="store_true", help="every letter of --subscription")
    redriving.add_argument("--subscription", metavar="NAME")
    _add_filter(redriving)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", help="only those that died of it")
    parser.add_argument("--type", help="only messages of this type")
    parser.add_argument("--since", type=time, metavar="TIME", help="that died then or later")
    parser.add_argument("--until", type=time, metavar="TIME", help="that died before")


def _add_replay(parent: Subparsers) -> None:
    replaying = command(
        parent,
        "replay",
        "send again what a subscription got before, in order; what is pending stays pending",
        "outbox-relay replay billing --from 2026-03-01T09:00:00Z --dry-run",
        "outbox-relay replay billing --from-message 17",
    )
    replaying.set_defaults(command=commands.replay)
    replaying.add_argument("name", metavar="NAME", help="of the subscription")
    since = replaying.add_mutually_exclusive_group(required=True)
    since.add_argument(
        "--from",
        dest="from_time",
        type=time,
        metavar="TIME",
        help="what was written since then; ISO 8601 with an offset",
    )
    since.add_argument(
        "--from-message",
        dest="from_message_id",
        type=identity,
        metavar="ID",
        help="this message and those after it",
    )
    replaying.add_argument("--dry-run", action="store_true", help="only tell how many they are")


def _add_subscriptions(parent: Subparsers) -> None:
    listing = command(
        parent,
        "subscriptions",
        "list the subscriptions: who gets what, what waits, how the endpoints do",
        "outbox-relay subscriptions",
        "outbox-relay subscriptions --json | jq '.[] | select(.paused)'",
        "outbox-relay subscriptions pause billing --reason 'database move'",
    )
    listing.set_defaults(command=commands.list_subscriptions)
    listing.add_argument("--json", action="store_true", help="one JSON array")
    subparsers = listing.add_subparsers(title="commands", metavar="COMMAND")
    adding = command(
        subparsers,
        "add",
        "subscribe an HTTP endpoint to a channel, from now on; shows its secret, once",
        "outbox-relay subscriptions add billing --channel orders --endpoint https://example.com/in",
        "outbox-relay subscriptions add billing --channel orders --endpoint https://example.com/in"
        " --type order.paid --setting on_exhausted=park --setting retry.max_attempts=5",
    )
    adding.set_defaults(command=commands.add_subscription)
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--channel", required=True)
    adding.add_argument("--endpoint", required=True, metavar="URL")
    adding.add_argument(
        "--type", action="append", dest="types", help="only messages of it; may be repeated"
    )
    adding.add_argument(
        "--setting",
        action="append",
        type=setting,
        default=[],
        dest="settings",
        metavar="PATH=VALUE",
        help="as table outbox.http_setting lists them; may be repeated",
    )
    subscriptions.add(subparsers)
    pausing = command(
        subparsers,
        "pause",
        "send nothing more to it; its backlog stays in the log",
        "outbox-relay subscriptions pause billing --reason 'database move'",
    )
    pausing.set_defaults(command=commands.pause_subscription)
    pausing.add_argument("name", metavar="NAME")
    pausing.add_argument("--reason")
    for name, does, chosen in (
        ("resume", "go on where it stood, with a closed breaker", commands.resume_subscription),
        ("test", "send one test message to this endpoint alone", commands.test_subscription),
    ):
        plain = command(subparsers, name, does, f"outbox-relay subscriptions {name} billing")
        plain.set_defaults(command=chosen)
        plain.add_argument("name", metavar="NAME")
    rotating = command(
        subparsers,
        "rotate-secret",
        "make a new secret, shown once; the old one serves for a day more",
        "outbox-relay subscriptions rotate-secret billing",
        "outbox-relay subscriptions rotate-secret billing --revoke-old now",
    )
    rotating.set_defaults(command=commands.rotate_secret)
    rotating.add_argument("name", metavar="NAME")
    rotating.add_argument(
        "--revoke-old",
        choices=("now", "after_a_day"),
        default="after_a_day",
        help="how long requests are signed with the old one as well; after_a_day by default",
    )


def _add_secrets(parent: Subparsers) -> None:
    sealing = command(
        parent,
        "secrets",
        "seal endpoints' secrets at rest with OUTBOX_SECRET_KEY",
        "outbox-relay secrets new-key",
    )
    subparsers = sealing.add_subparsers(title="commands", required=True, metavar="COMMAND")
    making = command(
        subparsers,
        "new-key",
        "print a new key for OUTBOX_SECRET_KEY",
        "outbox-relay secrets new-key",
    )
    making.set_defaults(command=commands.new_secret_key)
    seal = command(
        subparsers,
        "seal",
        "seal at once what a relay would within a minute; afterwards older keys may go",
        "outbox-relay secrets seal",
    )
    seal.set_defaults(command=commands.seal_secrets)
