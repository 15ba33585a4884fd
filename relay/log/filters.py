"""Which messages a subscription wants, asked of rows that were read for several at once.

For one alone the database answers it: see `outbox.wants`, and WANTED in reading.py.
"""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

import msgspec

from relay.log.message import CHANNEL, MARKS, SHARD, TYPE, Row

# The platform's own channels go only to those that name them.
PLATFORM = "outbox."
# A statement is sent the types that it asks for, and hashes them, anew for each page. Where those
# that several want together have more characters, it asks for every type: what nobody wants is left
# out here.
MAX_CHARACTERS = 16_000


class Union(msgspec.Struct, frozen=True):
    """What at least one of several subscriptions wants, as far as one statement can say it.

    `every_channel` is every one but the platform's own; `types` is None for every type.
    """

    every_channel: bool
    channels: list[str]
    types: list[str] | None


def union(filters: Iterable["Filter"]) -> Union:
    """Of at least one; of one alone it says just what that one wants."""
    wanted = set(filters)
    channels = set[str]().union(*(one.channels for one in wanted if one.channels is not None))
    every_channel = any(one.channels is None for one in wanted)
    return Union(every_channel, sorted(channels), _types(wanted))


def _types(wanted: Set["Filter"]) -> list[str] | None:
    types, characters = set[str](), 0
    for one in wanted:
        if one.types is None:
            return None
        more = one.types - types
        types |= more
        characters += sum(map(len, more))
        if characters > MAX_CHARACTERS and len(wanted) > 1:
            return None
    return sorted(types)


class Filter(msgspec.Struct, frozen=True):
    """A subscription's own: None stands for every channel but the platform's, and every type."""

    channels: frozenset[str] | None
    types: frozenset[str] | None

    @classmethod
    def of(cls, channels: Iterable[str] | None, types: Iterable[str] | None) -> "Filter":
        """Of the columns of its subscription."""
        return cls(
            None if channels is None else frozenset(channels),
            None if types is None else frozenset(types),
        )

    def wants(self, channel: str, type_: str) -> bool:
        """Whether it wants a message of this channel and type."""
        return self._takes(channel) and (self.types is None or type_ in self.types)

    def wants_any(self, types: Mapping[str, Set[str]]) -> bool:
        """Whether it wants a message of any of these types, which are given by their channels."""
        channels = types.keys() if self.channels is None else self.channels & types.keys()
        taken = (types[channel] for channel in channels if self._takes(channel))
        return any(self.types is None or not self.types.isdisjoint(some) for some in taken)

    def _takes(self, channel: str) -> bool:
        if self.channels is None:
            return not channel.startswith(PLATFORM)
        return channel in self.channels


class Part(NamedTuple):
    """What one cursor takes of what was read for several: of one shard; None: of all that there
    are.
    """

    filter: Filter
    shard: int | None


class Sorter:
    """Sorts rows by the parts that take them. Each channel and type is asked for once, so that a
    row costs what takes it, however many do not.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = list(dict.fromkeys(parts))
        # The places of those that take it.
        self._known: dict[tuple[bytes, bytes, int], list[int]] = {}

    def sort(self, rows: list[Row]) -> Mapping[Part, list[Row]]:
        """What each takes, in the order of the rows; nothing of those that take none."""
        if len(self._parts) == 1:
            # The statement that read them has left out what it does not want.
            return {self._parts[0]: rows}
        known = self._known
        taken: list[list[Row]] = [[] for _ in self._parts]
        for row in rows:
            kind = row[CHANNEL], row[TYPE], row[MARKS] // SHARD
            takers = known.get(kind)
            if takers is None:
                takers = known[kind] = self._takers(*kind)
            for taker in takers:
                taken[taker].append(row)
        return {part: some for part, some in zip(self._parts, taken, strict=True) if some}

    def _takers(self, channel: bytes, type_: bytes, shard: int) -> list[int]:
        kind = channel.decode(), type_.decode()
        return [
            place
            for place, part in enumerate(self._parts)
            if part.shard in (None, shard) and part.filter.wants(*kind)
        ]
