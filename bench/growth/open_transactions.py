"""Transactions that are open and do nothing: each makes every snapshot one id longer."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

from bench.arena import Arena

SEED = 4
# Between two of them others come and go, so that their ids have gaps, as in life.
LARGEST_GAP = 40

TAKE_XID = "select pg_current_xact_id()"


@contextmanager
def open_transactions(arena: Arena, count: int) -> Iterator[None]:
    """So many sessions, idle in a transaction that has an id."""
    random = Random(SEED)
    with ExitStack() as stack:
        passing = stack.enter_context(arena.connect())
        for _ in range(count):
            holder = stack.enter_context(arena.connect())
            holder.execute("begin")
            holder.execute(TAKE_XID)
            for _ in range(random.randint(1, LARGEST_GAP)):
                passing.execute(TAKE_XID)
        yield
