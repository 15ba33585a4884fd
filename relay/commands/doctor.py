"""`outbox-relay doctor`: examines what a relay needs before it runs there."""

import argparse

from relay.commands.arguments import Subparsers, command
from relay.commands.outcome import DONE, FAULT
from relay.doctor import examination
from relay.settings import Settings


def add(parent: Subparsers) -> None:
    examining = command(
        parent,
        "doctor",
        "examine database, rights, log and Kafka; each finding with its hint",
        "outbox-relay doctor || echo 'a relay would not do its work here'",
    )
    examining.set_defaults(command=examine)


def examine(settings: Settings, arguments: argparse.Namespace) -> int:
    faults = 0
    for finding in examination.examine(settings):
        print(examination.line(finding), flush=True)
        faults += finding.level == "fault"
    return FAULT if faults else DONE
