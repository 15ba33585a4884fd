"""What each command of `outbox-relay` does: settings and arguments in, exit code out."""

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import Diagnostic

from relay import keyring, migrations
from relay.daemon import relay
from relay.database import Connection, connect, transaction
from relay.doctor import examination
from relay.keyring import Keyring
from relay.monitoring import server as status_server
from relay.monitoring import status
from relay.monitoring.telemetry import Telemetry
from relay.operate import channels, dead_letters, rebase, status_text, subscriptions
from relay.operate import replay as replaying
from relay.operate.table import printable
from relay.process import terminal
from relay.process.log_stream import LogStream
from relay.process.signals import stop_on_signals
from relay.secrets import at_rest
from relay.settings import Settings

DONE, FAULT, BAD_CONFIGURATION = 0, 1, 2


def complain(code: int, *faults: str) -> int:
    """Tells what is wrong on standard error; gives `code` back. Nobody there holds up the end."""
    for fault in faults:
        LogStream(sys.stderr).write(f"outbox-relay: {printable(fault)}\n")
    return code


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    stop = threading.Event()
    stop_on_signals(stop)
    telemetry = Telemetry()
    server = status_server.start(settings, telemetry)
    try:
        return relay.run(settings, telemetry, stop, arguments.once)
    finally:
        if server is not None:
            server.close()


@contextmanager
def migrated(settings: Settings) -> Iterator[Connection]:
    """A connection to a database that fits this code."""
    with connect(settings) as connection:
        with transaction(connection):
            migrations.check(connection)
        yield connection


def migrate(settings: Settings, arguments: argparse.Namespace) -> int:
    with connect(settings) as connection:
        for migration in migrations.migrate(connection, outbox_only=arguments.outbox_only):
            print(f"migrated {migration.version:03} {migration.name}")
        connection.add_notice_handler(_tell)
        if not migrations.grant_roles(connection):
            roles = migrations.sql_directory() / "roles.sql"
            print(
                f"roles left as they are: this role may not make any. Apply them: psql -f {roles}"
            )
    print(f"{settings.database} is up to date")
    return DONE


def _tell(notice: Diagnostic) -> None:
    print(printable(notice.message_primary or ""))


def show_status(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        now = status.read(connection)
    if arguments.json:
        terminal.print_json(now)
    else:
        print(status_text.render(now))
    return DONE


def list_letters(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        letters = dead_letters.read(connection, _meant(arguments), limit=arguments.limit)
    print(dead_letters.render(letters))
    if len(letters) == arguments.limit:
        print(f"the first {arguments.limit}; --limit shows more", file=sys.stderr)
    return DONE


def show_letter(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        print(dead_letters.show(connection, arguments.id))
    return DONE


def _meant(arguments: argparse.Namespace) -> dead_letters.Filter:
    return dead_letters.Filter(
        subscription=arguments.subscription,
        reason=arguments.reason,
        type=arguments.type,
        since=arguments.since,
        until=arguments.until,
    )


def redrive(settings: Settings, arguments: argparse.Namespace) -> int:
    meant = _meant(arguments)
    by_filter = arguments.all and meant.subscription and not arguments.ids
    by_ids = arguments.ids and not arguments.all and meant == dead_letters.Filter()
    if not (by_filter or by_ids):
        return complain(
            BAD_CONFIGURATION,
            "redrive takes ids, or --all --subscription NAME with --reason, --type, --since, "
            "--until as you like",
        )
    with migrated(settings) as connection:
        redriven = (
            dead_letters.redrive(connection, arguments.ids)
            if by_ids
            else dead_letters.redrive_all(connection, meant)
        )
    print(f"redriven: {redriven}")
    return DONE


def list_subscriptions(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        found = subscriptions.read(connection)
    if arguments.json:
        terminal.print_json(found)
    else:
        print(subscriptions.render(found))
    return DONE


def add_subscription(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        secret = subscriptions.add(
            connection,
            arguments.name,
            channel=arguments.channel,
            endpoint=arguments.endpoint,
            types=arguments.types,
            settings=dict(arguments.settings),
            keyring=Keyring(settings.secret_keys),
        )
    return _show_secret(secret)


def _show_secret(secret: str) -> int:
    print(secret)
    print("that is the secret of its signatures; it is not shown again", file=sys.stderr)
    return DONE


def pause_subscription(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        subscriptions.pause(connection, arguments.name, arguments.reason)
    print(f"{printable(arguments.name)} is paused; its backlog stays in the log")
    return DONE


def resume_subscription(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        subscriptions.resume(connection, arguments.name)
    print(f"{printable(arguments.name)} goes on")
    return DONE


def test_subscription(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        message_id = subscriptions.send_test(connection, arguments.name)
    print(f"message {message_id} is on its way to {printable(arguments.name)} alone")
    return DONE


def rotate_secret(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        secret = subscriptions.rotate_secret(
            connection,
            arguments.name,
            revoke_old=arguments.revoke_old,
            keyring=Keyring(settings.secret_keys),
        )
    return _show_secret(secret)


def list_channels(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        waiting = channels.read(connection)
    if arguments.json:
        terminal.print_json(waiting)
    else:
        print(channels.render(waiting))
    return DONE


def drop_channel(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        dropped = channels.drop(
            connection,
            arguments.channel,
            subscription=arguments.subscription,
            dry_run=arguments.dry_run,
        )
    for one in dropped:
        count = f"{'at least ' if one.more else ''}{one.messages}"
        done = "would be passed over" if arguments.dry_run else "passed over for ever"
        print(f"{done} in {printable(one.subscription)}: {count}")
    return DONE


def new_secret_key(*_: object) -> int:
    print(keyring.new_key())
    print(
        "the newest comes first in OUTBOX_SECRET_KEY; every relay has to know it before that",
        file=sys.stderr,
    )
    return DONE


def seal_secrets(settings: Settings, arguments: argparse.Namespace) -> int:
    if not settings.secret_keys:
        return complain(
            BAD_CONFIGURATION,
            "OUTBOX_SECRET_KEY is not set: make a key by `outbox-relay secrets new-key`",
        )
    with migrated(settings) as connection:
        found = at_rest.seal(connection, Keyring(settings.secret_keys))
    print(f"sealed: {found.plain}, sealed anew: {found.older}, already: {found.newest}")
    if found.unopened:
        names = ", ".join(map(printable, found.unopened))
        return complain(FAULT, f"sealed with a key that is not here, and left so: {names}")
    return DONE


def replay(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        messages = replaying.replay(
            connection,
            arguments.name,
            from_time=arguments.from_time,
            from_message_id=arguments.from_message_id,
            dry_run=arguments.dry_run,
        )
    print(f"{'would be replayed' if arguments.dry_run else 'replayed'}: {messages}")
    return DONE


def rebase_cursors(settings: Settings, arguments: argparse.Namespace) -> int:
    with migrated(settings) as connection:
        print(rebase.rebase(connection, repeat_from=arguments.repeat_from))
    return DONE


def examine(settings: Settings, arguments: argparse.Namespace) -> int:
    faults = 0
    for finding in examination.examine(settings):
        print(examination.line(finding), flush=True)
        faults += finding.level == "fault"
    return FAULT if faults else DONE
