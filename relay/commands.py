"""What each command of `outbox-relay` does: settings and arguments in, exit code out."""

import argparse
import sys
import threading

import msgspec

from relay import daemon, dead_letters, doctor, migrations, rebase, status, status_server
from relay.database import connect
from relay.settings import Settings
from relay.signals import stop_on_signals
from relay.table import printable
from relay.telemetry import Telemetry

DONE, FAULT, BAD_CONFIGURATION = 0, 1, 2


def complain(code: int, *faults: str) -> int:
    """Tells what is wrong on standard error; gives `code` back."""
    for fault in faults:
        print(f"outbox-relay: {printable(fault)}", file=sys.stderr)
    return code


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    settings.with_kafka()
    stop = threading.Event()
    stop_on_signals(stop)
    telemetry = Telemetry()
    server = status_server.start(settings, telemetry)
    try:
        return daemon.run(settings, telemetry, stop, arguments.once)
    finally:
        if server is not None:
            server.close()


def migrate(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        for migration in migrations.migrate(connection, outbox_only=arguments.outbox_only):
            print(f"migrated {migration.version:03} {migration.name}")
        if not migrations.grant_roles(connection):
            roles = migrations.sql_directory() / "roles.sql"
            print(
                f"roles left as they are: this role may not make any. Apply them: psql -f {roles}"
            )
    print(f"{settings.database} is up to date")
    return DONE


def show_status(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        migrations.check(connection)
        now = status.read(connection)
    print(msgspec.json.encode(now).decode() if arguments.json else status.render(now))
    return DONE


def list_letters(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        migrations.check(connection)
        letters = dead_letters.letters(
            connection,
            subscription=arguments.subscription,
            reason=arguments.reason,
            limit=arguments.limit,
        )
    print(dead_letters.render(letters))
    if len(letters) == arguments.limit:
        print(f"the first {arguments.limit}; --limit shows more", file=sys.stderr)
    return DONE


def show_letter(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        migrations.check(connection)
        try:
            print(dead_letters.show(connection, arguments.id))
        except LookupError as unknown:
            return complain(FAULT, str(unknown))
    return DONE


def redrive(settings: Settings, arguments: argparse.Namespace) -> int:
    by_filter = arguments.all and arguments.subscription and not arguments.ids
    by_ids = arguments.ids and not (arguments.all or arguments.subscription or arguments.reason)
    if not (by_filter or by_ids):
        return complain(
            BAD_CONFIGURATION, "redrive takes ids, or --all --subscription NAME [--reason REASON]"
        )
    with connect(settings) as connection:
        migrations.check(connection)
        try:
            redriven = (
                dead_letters.redrive(connection, arguments.ids)
                if by_ids
                else dead_letters.redrive_all(
                    connection, subscription=arguments.subscription, reason=arguments.reason
                )
            )
        except LookupError as unknown:
            return complain(FAULT, str(unknown))
    print(f"redriven: {redriven}")
    return DONE


def rebase_cursors(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        migrations.check(connection)
        print(rebase.rebase(connection, repeat_from=arguments.repeat_from))
    return DONE


def examine(settings: Settings, arguments: argparse.Namespace) -> int:
    faults = 0
    for finding in doctor.examine(settings):
        print(doctor.line(finding), flush=True)
        faults += finding.level == "fault"
    return FAULT if faults else DONE
