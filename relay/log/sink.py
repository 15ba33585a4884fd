"""What a sink is to a run: pages of messages in, an outcome for each cursor back."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from relay.log.cursor import SinkSettings
from relay.log.message import Row

# A transaction notes the dead letters of its run, and has little room for it.
MAX_NOTED = 100


class Page(NamedTuple):
    """Messages in the order in which they have to go, and the run's cursors that want them all, by
    their places among the run's.
    """

    rows: Sequence[Row]
    takers: Sequence[int]


class Dead(msgspec.Struct, frozen=True):
    """A message that was given up: the receiver's name for the reason, and its words.

    After so many `attempts`; `exhausted` is the limit that they came to, where there is one.
    """

    message_id: int
    reason: str
    detail: str
    attempts: int = 1
    exhausted: str | None = None


class Blocked(msgspec.Struct, frozen=True):
    """A channel that takes nothing now, and why; `temporary`: that passes by itself.

    Without a reason it waits for nothing, and only goes on by a cursor of its own.
    """

    channel: str
    reason: str | None
    temporary: bool = False


class Stopped(msgspec.Struct, frozen=True):
    """The message that a run ended before: neither it nor a later one went.

    `blocked` are channels that take nothing: none of their messages before it was read, and some
    behind it may be theirs. Where there are none, the next run begins with it at once. `stuck`: a
    transaction that was given up can't be ended whole, for as long as its topics take nothing.
    `alone`: the cursor has to go on in runs of its own. `refused` is the channel of a message that
    made the whole run and is dead: more like it would each take a run, so it goes on alone.
    """

    message_id: int
    blocked: tuple[Blocked, ...] = ()
    stuck: bool = False
    alone: bool = False
    refused: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a cursor's run: every message before `stopped` is acknowledged or in `dead`.

    With transactions at most MAX_NOTED are dead. `created_at` holds when each acknowledged message
    was written, in the log's order: as in Row; `last_id` is the id of the last.
    """

    messages: int
    bytes: int
    created_at: list[int]
    dead: list[Dead]
    stopped: Stopped | None = None
    last_id: int = 0


class SinkAway(Exception):
    """The receiving system can't be reached, or refuses this relay as a whole.

    No message is to blame, and nothing that was in flight is still on its way. `messages`: how many
    the run had that was given up; None where none was.
    """

    messages: int | None = None


class Unanswered(SinkAway):
    """What was sent was not acknowledged in time."""


# What stands in the name of a cursor's transactions before their generation, where it is not the
# first: what is noted with them does not go by it.
GENERATION = "/"


class Transactions(Protocol):
    """The receiving system's own transactions, where a run is to arrive exactly once.

    They go by the cursor's `name`. Each is of one owner: the last that has fenced all others. The
    messages of `Sink.deliver` go into the transaction of the cursor that was taken or fenced last.
    """

    @property
    def held(self) -> bool:
        """Whether the cursor that was taken last is still owned, with nothing in doubt."""

    def take(self, name: str, token: int) -> bool:
        """Goes on as the owner that `own` made at this token; False where that is over."""

    def fence(self, name: str) -> str | None:
        """Ends every other owner's transaction and becomes the owner.

        Returns what the last committed transaction noted, or None. Raises SinkAway.
        """

    def begin(self) -> None:
        """A transaction begins, where none has. Raises SinkAway."""

    def forget(self, name: str) -> None:
        """The cursor of this name is gone; a name without a generation stands for all of them."""

    def own(self, token: int) -> None:
        """The cursor's checkpoint has this token, and nothing is in doubt."""

    def commit(self, note: str) -> None:
        """Commits what was delivered, and `note` with it.

        Raises SinkAway, also where it is in doubt whether that happened: `fence` finds it out.
        """

    def abort(self) -> None:
        """No consumer will see what was delivered. Never raises."""


class Sink(Protocol):
    """Where the messages of a session's subscriptions go. Used by one thread at a time."""

    @property
    def transactions(self) -> Transactions | None:
        """None: messages are seen as they are delivered, and some may be seen again."""

    @property
    def held_seconds(self) -> float:
        """How long the receiving system wants nothing: a quota is used up."""

    def open(self) -> None:
        """Returns once the receiving system answers; raises SinkAway where it does not."""

    def check_blocked(self, settings: SinkSettings, channel: str) -> bool:
        """Whether a channel that waits takes nothing still. Asks for all that wait together."""

    def give_up(self, settings: SinkSettings, channels: Iterable[str]) -> bool:
        """There is no room for further channels that wait: messages of these are dead for now.

        False where the receiving system may know no channel yet: then all wait. Raises SinkAway.
        """

    def deliver(
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
    ) -> list[Outcome]:
        """Sends each page to its takers, in their order, and returns when each has its outcome.

        `shared`: by a session of many subscriptions, where what concerns one stops it and leaves
        the rest to a session of its own; otherwise `cursor_id` is whose run it is. `takers` are the
        settings of the run's cursors; so many outcomes come back. A cursor that has stopped takes
        nothing more; may stop reading early, when all have. Raises SinkAway when the run has to be
        given up as a whole.
        """

    def close(self) -> None:
        """Drops what is still in flight, within a second."""
