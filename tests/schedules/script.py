"""A script: a few sessions, each a list of steps, whose every interleaving is to be played."""

import msgspec

WRITER_NAMES = "ABC"
READER_NAMES = "RS"
LONE_NAME = "L"
# What ends a reader's round; after it the next round begins, with whatever is new by then.
ROUND_ENDS = ("commit", "crash")


class Subscription(msgspec.Struct, frozen=True):
    """One that reads what the writers publish: None stands for every channel, and every type.

    `stops_at`: a channel of which it takes nothing in a run with others.
    """

    name: str
    channels: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    stops_at: str | None = None

    def wants(self, channel: str, type_: str) -> bool:
        """What it has to get, and nothing else."""
        return (self.channels is None or channel in self.channels) and (
            self.types is None or type_ in self.types
        )


ALONE = (Subscription("schedules"),)


class Script(msgspec.Struct, frozen=True):
    """Writers A, B, C, readers R, S and a lone one, L; each one's steps stay in their order.

    A writer's step is one or more of these, joined by `; `, in one transaction for the session:

        xid                       take a transaction id before anything else
        lock GROUP                lock the group's own row; waits while another writer holds it
        publish GROUP [WORDS]     publish the group's next message, numbered by the locked row;
                                  words are its channel, its priority and `type:` with its type
        savepoint, rollback to    and what was published since is gone
        commit, rollback, prepare, commit prepared

    A reader's step takes its round as far as:

        look       it has asked what is new
        claim      of several subscriptions: it holds their cursors and has read nothing yet
        start      it holds the cursor and has read, and has its first message in hand
        deliver    the sink has all of the run
        commit     the checkpoint is committed; of several subscriptions what has work is claimed
                   for the next round
        crash      it dies instead, after the step before

    A round that finds nothing, or whose cursor another reader holds, is over at once: its further
    steps are left out, so that no schedule counts twice.

    Where there are several `subscriptions`, R and S run all of their cursors together, and L the
    last one's alone. One that stopped in a run with others is in none until a run of its own moved
    it on.
    `limit` is the most messages of one run. `catches` names the readers that break a promise in
    some schedule of this script.
    """

    name: str
    about: str
    writers: tuple[tuple[str, ...], ...]
    readers: tuple[tuple[str, ...], ...]
    lone: tuple[str, ...] = ()
    subscriptions: tuple[Subscription, ...] = ALONE
    limit: int = 100
    shards: int = 1
    catches: tuple[str, ...] = ()

    @property
    def sessions(self) -> dict[str, tuple[str, ...]]:
        """The steps of each session by its name."""
        return {
            **dict(zip(WRITER_NAMES, self.writers, strict=False)),
            **dict(zip(READER_NAMES, self.readers, strict=False)),
            **({LONE_NAME: self.lone} if self.lone else {}),
        }

    @property
    def lengths(self) -> dict[str, int]:
        """How many steps each session has."""
        return {name: len(steps) for name, steps in self.sessions.items()}

    @property
    def is_shared(self) -> bool:
        """Whether its readers run several cursors together."""
        return len(self.subscriptions) > 1

    @property
    def groups(self) -> list[str]:
        """The groups that its writers lock."""
        actions = [one for steps in self.writers for step in steps for one in step.split("; ")]
        return sorted({action.split()[1] for action in actions if action.startswith("lock ")})
