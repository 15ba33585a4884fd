"""Which transactions a snapshot sees, told here without the database that is on trial."""

from typing import NamedTuple, Self


class Snapshot(NamedTuple):
    """As pg_snapshot has it: below `xmax` all is over but what was `in_progress`."""

    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From xmin:xmax:xip,xip,…"""
        _, xmax, in_progress = text.split(":")
        return cls(int(xmax), frozenset(int(xid) for xid in in_progress.split(",") if xid))

    def sees(self, xid: int) -> bool:
        """Whether the transaction, one that committed, had done so by then."""
        return xid < self.xmax and xid not in self.in_progress
