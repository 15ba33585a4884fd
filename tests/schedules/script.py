"""A script: a few sessions, each a list of steps, whose every interleaving is to be played."""

import msgspec

WRITER_NAMES = "ABC"
READER_NAMES = "RS"
# What ends a reader's round; after it the next round begins, with whatever is new by then.
ROUND_ENDS = ("commit", "crash")


class Script(msgspec.Struct, frozen=True):
    """Writers A, B, C and readers R, S; the steps of one session stay in their order.

    A writer's step is one or more of these, joined by `; `, in one transaction for the session:

        xid                       take a transaction id before anything else
        lock GROUP                lock the group's own row; waits while another writer holds it
        publish GROUP [CHANNEL]   publish the group's next message, numbered by the locked row
        savepoint, rollback to    and what was published since is gone
        commit, rollback, prepare, commit prepared

    A reader's step takes its round as far as:

        look       it has asked what is new
        start      it holds the cursor and has read, and has its first message in hand
        deliver    the sink has all of the run
        commit     the checkpoint is committed
        crash      it dies instead, after the step before

    A round that finds nothing, or whose cursor another reader holds, is over at once: its further
    steps are left out, so that no schedule counts twice.
    `limit` is the most messages of one run. `catches` names the readers that break a promise in
    some schedule of this script.
    """

    name: str
    about: str
    writers: tuple[tuple[str, ...], ...]
    readers: tuple[tuple[str, ...], ...]
    limit: int = 100
    shards: int = 1
    catches: tuple[str, ...] = ()

    @property
    def sessions(self) -> dict[str, tuple[str, ...]]:
        """The steps of each session by its name."""
        return {
            **dict(zip(WRITER_NAMES, self.writers, strict=False)),
            **dict(zip(READER_NAMES, self.readers, strict=False)),
        }

    @property
    def lengths(self) -> dict[str, int]:
        """How many steps each session has."""
        return {name: len(steps) for name, steps in self.sessions.items()}

    @property
    def groups(self) -> list[str]:
        """The groups that its writers lock."""
        actions = [one for steps in self.writers for step in steps for one in step.split("; ")]
        return sorted({action.split()[1] for action in actions if action.startswith("lock ")})
