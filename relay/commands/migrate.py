"""`outbox-relay migrate`: makes or updates the schema."""

import argparse

from psycopg.errors import Diagnostic

from relay import migrations
from relay.commands.arguments import Subparsers, command
from relay.commands.outcome import DONE
from relay.database import connect
from relay.operate.table import printable
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    migrating = command(
        parent,
        "migrate",
        "make or update the schema; safe to run again, and from many places at once",
        "outbox-relay migrate --outbox-only",
    )
    migrating.set_defaults(command=migrate)
    migrating.add_argument(
        "--outbox-only", action="store_true", help="without the tables for payments"
    )


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
