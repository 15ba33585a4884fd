"""Which partitions of a source this relay reads, where others may read some as well.

It writes nothing while nothing comes. The locks and offsets of positions decide what enters; this
only keeps two relays from fetching the same.
"""

from collections.abc import Mapping

from relay.sources.kafka.positions import Position

# A partition that has waited for so many looks is anybody's.
LOOKS = 3
# So many looks go by before what was taken beyond one's share is let go again.
KEEP_LOOKS = 60


class Shares:
    """Of one relay, by its name."""

    def __init__(self, relay: str) -> None:
        self._relay = relay
        # Of partitions of others: the offset at which each stands, and for how many looks.
        self._waiting: dict[int, tuple[int, int]] = {}
        self._kept = 0

    def choose(
        self,
        reading: Mapping[int, int],
        positions: Mapping[int, Position],
        ends: Mapping[int, int],
        relays: int,
    ) -> tuple[set[int], set[int]]:
        """What to read from now on, and what of it to let go: once for each look.

        `reading`: where each partition stands that is read now; `ends` of all others.
        """
        share = -(-len(positions) // max(relays, 1))
        mine = {
            one
            for one, offset in reading.items()
            if one in positions
            and (offset == positions[one].next_offset or self._free(positions[one]))
        }
        self._kept = max(self._kept - 1, 0)
        if len(mine) > share and not self._kept:
            surplus = set(sorted(mine)[share:])
            return mine - surplus, surplus
        for one, position in positions.items():
            if one in mine:
                self._waiting.pop(one, None)
                continue
            free = self._free(position)
            waits = ends.get(one, -1) > position.next_offset
            offset, looks = self._waiting.get(one, (-1, 0))
            looks = looks + 1 if waits and offset == position.next_offset else 0
            self._waiting[one] = (position.next_offset, looks)
            if len(mine) < share and (free or looks):
                mine.add(one)
            elif looks >= LOOKS:
                mine.add(one)
                self._kept = KEEP_LOOKS
        return mine, set()

    def _free(self, position: Position) -> bool:
        return position.relay in (None, self._relay)
