"""What all endpoints share, and how much of it one subscription may take."""

from collections.abc import Callable
from weakref import WeakValueDictionary

from relay.push.fair_turns import Owner


class Use:
    """So many open requests, and the bytes that they hold: payloads and headers."""

    __slots__ = ("__weakref__", "bytes", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0


class Room:
    """For so many open requests at once, and for so many bytes that they hold.

    A request takes at most half of what its owner and its subscription leave of it: what is left,
    less what each of the two has already. So an owner whose endpoints hang has half of it in the
    end, one subscription a third, and a smaller message still goes where a larger one waits. A
    subscription that has no request open may open one, while there is one at all. Counted on
    one loop; other threads only look.
    """

    def __init__(self, most_requests: int, most_bytes: int, soon: Callable[..., object]) -> None:
        """`soon` calls a function in the loop's next turn."""
        self.most_requests = most_requests
        self.most_bytes = most_bytes
        self.use = Use()
        # How many have any of it.
        self.owners = 0
        self._soon = soon
        self._owners: WeakValueDictionary[str, Use] = WeakValueDictionary()
        self._operator = Use()
        self._waiting: dict[Callable[[], None], None] = {}

    def share(self, owner: Owner) -> "Share":
        """Of a subscription of this owner."""
        if owner is None:
            return Share(self, self._operator)
        return Share(self, self._owners.setdefault(owner, Use()))

    def wait(self, look: Callable[[], None]) -> None:
        """Calls `look` once, when there is more room."""
        self._waiting[look] = None

    def wake(self) -> None:
        """There is more room."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for look in waiting:
                self._soon(look)


class Share:
    """What one subscription has of it."""

    def __init__(self, room: Room, owner: Use) -> None:
        self._room = room
        self._owner = owner
        self._own = Use()

    def has_room(self, size: int) -> bool:
        """Whether a request that holds so many bytes may be opened."""
        room, all_use, owner, own = self._room, self._room.use, self._owner, self._own
        bytes_left = room.most_bytes - all_use.bytes - owner.bytes - own.bytes
        if bytes_left < 2 * size:
            return False
        requests_left = room.most_requests - all_use.requests
        if not own.requests:
            return requests_left > 0
        return requests_left - owner.requests - own.requests >= 2

    @property
    def owner_is_large(self) -> bool:
        """Whether its owner has as many open requests as each would at an even share, or more."""
        return self._owner.requests * self._room.owners >= self._room.use.requests

    def take(self, size: int) -> None:
        all_use, owner, own = self._room.use, self._owner, self._own
        self._room.owners += not owner.requests
        all_use.requests += 1
        all_use.bytes += size
        owner.requests += 1
        owner.bytes += size
        own.requests += 1
        own.bytes += size

    def give_back(self, size: int) -> None:
        all_use, owner, own = self._room.use, self._owner, self._own
        all_use.requests -= 1
        all_use.bytes -= size
        owner.requests -= 1
        owner.bytes -= size
        own.requests -= 1
        own.bytes -= size
        self._room.owners -= not owner.requests
        self._room.wake()
