"""Which messages a subscription wants, asked of rows that were read for several at once.

For one alone the database answers it: see `outbox.wants`, and WANTED in reading.py.
"""

from collections.abc import Iterable, Sequence

import msgspec

from relay.log.message import CHANNEL, TYPE, Row

# The platform's own channels go only to those that name them.
PLATFORM = b"outbox."


class Union(msgspec.Struct, frozen=True):
    """What at least one of several subscriptions wants, as far as one statement can say it.

    `every_channel` is every one but the platform's own; `types` is None for every type.
    """

    every_channel: bool
    channels: list[str]
    types: list[str] | None


def union(filters: Iterable["Filter"]) -> Union:
    """Of at least one."""
    every_channel, channels = False, set[str]()
    types: set[str] | None = set()
    for one in filters:
        every_channel |= one.channels is None
        channels.update(one.channels or ())
        types = None if types is None or one.types is None else types.union(one.types)
    return Union(every_channel, sorted(channels), None if types is None else sorted(types))


class Filter(msgspec.Struct, frozen=True):
    """A subscription's own: None stands for every channel but the platform's, and every type."""

    channels: tuple[str, ...] | None
    types: tuple[str, ...] | None

    @classmethod
    def of(cls, channels: Sequence[str] | None, types: Sequence[str] | None) -> "Filter":
        """Of the columns of its subscription."""
        return cls(
            None if channels is None else tuple(channels), None if types is None else tuple(types)
        )

    def wants(self, channel: bytes, type_: bytes) -> bool:
        """Whether it wants a message of this channel and type."""
        if self.channels is None:
            if channel.startswith(PLATFORM):
                return False
        elif channel.decode() not in self.channels:
            return False
        return self.types is None or type_.decode() in self.types


class Sorter:
    """Sorts rows by the filters that want them; each channel and type is asked for once."""

    def __init__(self, filters: Iterable[Filter]) -> None:
        self._known: dict[Filter, dict[tuple[bytes, bytes], bool]] = {one: {} for one in filters}

    def wanted(self, one: Filter, rows: list[Row]) -> list[Row]:
        """Those that one of the filters wants, in their order."""
        if len(self._known) == 1:
            # The statement that read them has left out what it does not want.
            return rows
        known = self._known[one]
        wanted = []
        for row in rows:
            kind = row[CHANNEL], row[TYPE]
            is_wanted = known.get(kind)
            if is_wanted is None:
                is_wanted = known[kind] = one.wants(*kind)
            if is_wanted:
                wanted.append(row)
        return wanted
