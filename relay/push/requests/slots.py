"""How many requests one relay may have in flight for one subscription, over all its runs."""

import threading
from collections.abc import Callable

from relay.push.fair_turns import Owner
from relay.push.requests.capacity import Room

# With retries about, so much of the capacity is kept for them, and so much is the most they get
# while fresh messages wait: neither starves the other, whichever of them hangs.
KEPT_FOR_RETRIES = 4
MAX_RETRIES = 2


class Slots:
    """Counted on the request loop; other threads only look.

    A request needs one of them, and the share of its subscription in what all endpoints have.
    """

    def __init__(self, capacity: int, room: Room, owner: Owner) -> None:
        self.capacity = capacity
        self.owner = owner
        self._room = room
        self._share = room.share(owner)
        # Whether the message that was next found no room, and its size.
        self.lacks_room = False
        self._wanted_bytes = 0
        self._fresh = 0
        self._retries = 0
        self._freed = threading.Event()
        self._is_awaited = False
        # Of each run that is under way, what looks for a free slot: requests of others free them.
        self._waiting: list[Callable[[], None]] = []

    @property
    def free(self) -> int:
        return self.capacity - self._fresh - self._retries

    def takes_fresh(self, *, retrying: bool) -> bool:
        """Whether a first attempt may go; `retrying`: some of its subscription's wait or will."""
        free = self.capacity - self._fresh - self._retries
        if retrying:
            return free > max(self.capacity // KEPT_FOR_RETRIES - self._retries, 0)
        return free > 0

    def takes_retry(self, *, fresh_wait: bool) -> bool:
        """Whether a further attempt may go."""
        most = max(self.capacity // MAX_RETRIES, 1) if fresh_wait else self.capacity
        return self.free > 0 and self._retries < most

    def ask_for_room(self, size: int) -> bool:
        """Whether a request that holds so many bytes may go besides all others'.

        Where not, the runs that are under way look again when there is more room.
        """
        has_room = self._share.has_room(size)
        self.lacks_room = not has_room
        self._wanted_bytes = 0 if has_room else size
        if not has_room:
            self._room.wait(self._look_again)
        return has_room

    @property
    def owner_is_large(self) -> bool:
        """Whether its owner has its even share of all open requests, or more."""
        return self._share.owner_is_large

    def take(self, size: int, *, retry: bool) -> None:
        if retry:
            self._retries += 1
        else:
            self._fresh += 1
        self._share.take(size)

    def give_back(self, size: int, *, retry: bool) -> None:
        if retry:
            self._retries -= 1
        else:
            self._fresh -= 1
        self._share.give_back(size)
        if self._is_awaited:
            self._tell()

    def enter(self, resume: Callable[[], None]) -> None:
        """From now on this is called where a slot or room may be free that others held."""
        if resume not in self._waiting:
            self._waiting.append(resume)

    def leave(self, resume: Callable[[], None]) -> None:
        if resume in self._waiting:
            self._waiting.remove(resume)

    def resume_others(self, own: Callable[[], None]) -> None:
        """After one of this one's requests has ended, and it has taken what it needs."""
        if len(self._waiting) > 1 or own not in self._waiting:
            for resume in tuple(self._waiting):
                if resume != own:
                    resume()

    def wait(self, seconds: float) -> bool:
        """For another thread: whether a request can go, or can in time."""
        self._freed.clear()
        self._is_awaited = True
        return self._can_go or (self._freed.wait(seconds) and self._can_go)

    @property
    def _can_go(self) -> bool:
        return self.free > 0 and self._share.has_room(self._wanted_bytes)

    def _tell(self) -> None:
        self._is_awaited = False
        self._freed.set()

    def _look_again(self) -> None:
        self._tell()
        for resume in tuple(self._waiting):
            resume()
