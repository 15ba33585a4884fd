"""What a run of a cursor is to the worker that schedules it."""

from typing import Protocol

import msgspec

from relay.log.cursor import Cursor
from relay.settings import Settings

# What a run may take beyond its barrier.
SLACK_SECONDS = 5.0


def frozen_after_seconds(settings: Settings) -> float:
    """How long a run may stand still before its relay counts as frozen and loses its session."""
    return settings.barrier_seconds + SLACK_SECONDS


class Ran(msgspec.Struct, frozen=True):
    """How a run ended.

    `progressed`: something was committed; `exhausted`: nothing more was to be had; `blocked`: what
    is left has to wait; `aborted`: it was given up, and had so many `messages`.
    """

    progressed: bool = False
    exhausted: bool = True
    blocked: bool = False
    aborted: bool = False
    messages: int | None = None


class Runs(Protocol):
    """Runs of one subscription's cursors."""

    def run(self, cursor: Cursor, limit: int) -> Ran | None:
        """At most `limit` messages of one cursor; None where it is another relay's."""

    def probe(self, subscription_id: int) -> list[Cursor]:
        """Its cursors that have work."""
