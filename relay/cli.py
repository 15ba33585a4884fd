"""The command `outbox-relay`."""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import psycopg
import structlog
from psycopg import errors

from relay import commands, logs, migrations
from relay.daemon import Refused
from relay.settings import Settings, SettingsError, described_fields, description

logger = structlog.get_logger()

Command = Callable[[Settings, argparse.Namespace], int]


def main() -> int:
    """Runs one command. Exit codes: 0 done, 1 fault, 2 bad configuration."""
    arguments = _parser().parse_args()
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        for ignored in settings.ignored:
            logger.warning("setting_ignored", reason=ignored)
        command: Command = arguments.command
        code = command(settings, arguments)
        sys.stdout.flush()
        return code
    except SettingsError as fault:
        return commands.complain(commands.BAD_CONFIGURATION, *fault.faults)
    except (migrations.MigrationError, Refused) as fault:
        return commands.complain(commands.FAULT, str(fault))
    except psycopg.Error as fault:
        return commands.complain(commands.FAULT, _told(fault, settings))
    except BrokenPipeError:
        # `outbox-relay status | head`: nobody reads on, and Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return commands.FAULT
    except KeyboardInterrupt:
        return commands.FAULT


def _told(fault: psycopg.Error, settings: Settings) -> str:
    """What went wrong at the database, and the mend. libpq never quotes the password here."""
    first = (str(fault).splitlines() or [type(fault).__name__])[0]
    match fault:
        case errors.InsufficientPrivilege():
            return f"{first}: this command needs a role with more rights, see sql/roles.sql"
        case errors.LockNotAvailable():
            return f"{first}: somebody else holds it; stop the writers or try again"
        case psycopg.OperationalError() if fault.sqlstate is None:
            return f"no database at {settings.database}: {first}. Check DATABASE_URL"
        case _:
            return f"the database says: {first}"


def _between(text: str, lowest: int, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text[:20]) <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {lowest} to {highest}")
    return int(text)


def _limit(text: str) -> int:
    return _between(text, 1, 100_000)


def _id(text: str) -> int:
    return _between(text, 1, 2**63 - 1)


def _time(text: str) -> datetime:
    """ISO 8601 with an offset: a time without one means another moment on another machine."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-03-01T09:00:00Z"
        ) from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no offset: write {text}Z for UTC")
    return time


DESCRIPTION = """
Carries the messages of the outbox in a Postgres database to Kafka. Any number of relays may run on
one database: they share the work, and when one dies the others go on.
"""


Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _environment() -> str:
    names = {
        "DATABASE_URL": "postgresql://user:password@host:5432/database; required",
        "KAFKA_BOOTSTRAP_SERVERS": "host:port,host:port; `run` and `doctor` need it",
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
    run = _add(
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
    migrate = _add(
        subparsers,
        "migrate",
        "make or update the schema; safe to run again, and from many places at once",
        "outbox-relay migrate --outbox-only",
    )
    migrate.set_defaults(command=commands.migrate)
    migrate.add_argument(
        "--outbox-only", action="store_true", help="without the schema of the payment example"
    )
    status = _add(
        subparsers,
        "status",
        "tell what waits, what moved lately, who works on what",
        "outbox-relay status",
        "outbox-relay status --json | jq .backlog",
    )
    status.set_defaults(command=commands.show_status)
    status.add_argument("--json", action="store_true", help="one JSON object")
    _add_dead_letters(subparsers)
    rebase = _add(
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
        type=_time,
        metavar="TIME",
        help="send again what was written since then; ISO 8601 with an offset",
    )
    doctor = _add(
        subparsers,
        "doctor",
        "examine database, rights, log and Kafka; each finding with its mend",
        "outbox-relay doctor || echo 'a relay would not do its work here'",
    )
    doctor.set_defaults(command=commands.examine)
    return parser


def _add_dead_letters(parent: Subparsers) -> None:
    letters = _add(
        parent,
        "dead-letters",
        "list, inspect and redrive what was given up",
        "outbox-relay dead-letters list",
    )
    subparsers = letters.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = _add(
        subparsers,
        "list",
        "list the letters that are not delivered, in the order of their publishing",
        "outbox-relay dead-letters list --subscription kafka --reason MSG_SIZE_TOO_LARGE",
    )
    listing.set_defaults(command=commands.list_letters)
    listing.add_argument("--subscription", metavar="NAME")
    listing.add_argument("--reason")
    listing.add_argument("--limit", type=_limit, default=50, help="1 to 100,000; 50 by default")
    showing = _add(
        subparsers,
        "show",
        "show one letter with its headers and its payload",
        "outbox-relay dead-letters show 17",
    )
    showing.set_defaults(command=commands.show_letter)
    showing.add_argument("id", type=_id)
    redriving = _add(
        subparsers,
        "redrive",
        "send letters again, to their own subscription only and in their order",
        "outbox-relay dead-letters redrive 17 18",
        "outbox-relay dead-letters redrive --all --subscription kafka",
    )
    redriving.set_defaults(command=commands.redrive)
    redriving.add_argument("ids", type=_id, nargs="*", metavar="ID")
    redriving.add_argument("--all", action="store_true", help="every letter of --subscription")
    redriving.add_argument("--subscription", metavar="NAME")
    redriving.add_argument("--reason", help="with --all: only those that died of it")


def _add(subparsers: Subparsers, name: str, does: str, *examples: str) -> argparse.ArgumentParser:
    """A command that explains itself: what it does, and how one calls it."""
    return subparsers.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog="\n  ".join(["examples:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
