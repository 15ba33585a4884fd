"""What a run is to the worker that schedules it."""

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

import msgspec

from relay.log.cursor import Cursor
from relay.settings import Settings

# What a run may take beyond its barrier.
SLACK_SECONDS = 5.0
# What a priority below the highest that has work still gets, each round.
SHORT_RUN_MESSAGES = 500


def frozen_after_seconds(settings: Settings) -> float:
    """How long a run may stand still before its relay counts as frozen and loses its session."""
    return settings.barrier_seconds + SLACK_SECONDS


class Ran(msgspec.Struct, frozen=True):
    """How a run ended for one of its cursors.

    `progressed`: something was committed; `exhausted`: nothing more was to be had; `blocked`: what
    is left has to wait; `aborted`: it was given up, and had so many `messages`. `begun`: the
    cursor is claimed again already, and has more. `alone`: in a run with others nothing of it can
    go, or it would hold them up.
    """

    progressed: bool = False
    exhausted: bool = True
    blocked: bool = False
    aborted: bool = False
    messages: int | None = None
    begun: bool = False
    alone: bool = False


class Runs(Protocol):
    """Runs of the cursors of one session."""

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> Mapping[int, Ran]:
        """At most `limit` messages of each; by the ids of those that no other relay has.

        `again`: with its end, in the same round trip, the same cursors are claimed for the next
        run, which has to follow at once, or `rest`.
        """

    def rest(self) -> None:
        """Gives back what is claimed for the next run: none follows now."""


class SharedRuns(Runs, Protocol):
    """Runs of many subscriptions' cursors."""

    def give_way(self, cursor_ids: Set[int]) -> None:
        """From any thread: these cursors have something to send. Those that are not in this run, or
        are done in it, wait for its end; if none is under way, for that of the next.
        """


class LookingRuns(Runs, Protocol):
    """Runs of one subscription's cursors."""

    def probe(self, subscription_id: int) -> list[Cursor]:
        """The cursors of a subscription that have work."""
