"""`outbox-relay secrets new-key|seal`: endpoints' secrets at rest."""

import argparse
import sys

from relay import keyring
from relay.commands.arguments import Subparsers, command
from relay.commands.connection import migrated
from relay.commands.outcome import BAD_CONFIGURATION, DONE, FAULT, complain
from relay.keyring import Keyring
from relay.operate.table import printable
from relay.secrets import at_rest
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    listed = command(
        parent,
        "secrets",
        "seal endpoints' secrets at rest with OUTBOX_SECRET_KEY",
        "outbox-relay secrets new-key",
    )
    subparsers = listed.add_subparsers(title="commands", required=True, metavar="COMMAND")
    making = command(
        subparsers,
        "new-key",
        "print a new key for OUTBOX_SECRET_KEY",
        "outbox-relay secrets new-key",
    )
    making.set_defaults(command=new_key)
    sealing = command(
        subparsers,
        "seal",
        "seal at once what a relay would within a minute; afterwards older keys may go",
        "outbox-relay secrets seal",
    )
    sealing.set_defaults(command=seal)


def new_key(*_: object) -> int:
    print(keyring.new_key())
    print(
        "the newest comes first in OUTBOX_SECRET_KEY; every relay has to know it before that",
        file=sys.stderr,
    )
    return DONE


def seal(settings: Settings, arguments: argparse.Namespace) -> int:
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
