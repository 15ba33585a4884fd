"""What of a run waits to be sent: a group's messages one after the other, the rest by their ids."""

import heapq
from collections import deque
from collections.abc import Iterator

from relay.push.item import Item
from relay.push.requests.slots import Slots

# What waits in memory for a slot or for its group: enough that no slot idles, and no more.
MAX_MESSAGES = 512
MAX_BYTES = 4_000_000


class Waiting:
    """The messages of one run that were not sent yet.

    `behind` are those of the log that have to wait behind another of their group, beyond this run.
    """

    def __init__(
        self, slots: Slots, most: int, *, retrying: bool, window: int | None = None
    ) -> None:
        """Of at most `most` requests; `retrying`: of the subscription, some wait for another.

        `window`: no message goes before all but so many of those before it have their outcome, so
        that the run passes no more than these without one.
        """
        self.behind: list[Item] = []
        self._window = window
        self._outside: deque[Item] = deque()
        self._slots = slots
        self._retrying = retrying
        self._fresh: list[tuple[int, Item]] = []
        self._retries: deque[Item] = deque()
        self._retried_last = False
        # Of few requests, as a rate limit leaves, retries get half.
        self._retries_left = max(most // 2, 1)
        # A group is a key here while one of its messages is ready or in flight. Few have another.
        self._followers: dict[bytes, deque[Item] | None] = {}
        self._stuck: set[bytes] = set()
        self._count = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._count >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    @property
    def has_ready(self) -> bool:
        """Whether one could go, given a slot."""
        return bool(self._fresh or self._retries or self._outside)

    def admit(self, in_flight: int) -> None:
        """As many of those that came as the window takes; so many are in flight."""
        if self._window is None:
            return
        while self._outside and self._count - len(self._outside) + in_flight < self._window:
            item = self._outside.popleft()
            self._drop(item)
            self._admit(item)

    def add(self, item: Item) -> None:
        """One that was loaded or read, in the order of its group."""
        if self._window is None:
            self._admit(item)
            return
        self._count += 1
        self._bytes += item.held_bytes
        self._outside.append(item)

    def _admit(self, item: Item) -> None:
        group = item.group_key
        if item.blocked or (group is not None and group in self._stuck):
            self._leave_behind(item)
            return
        self._count += 1
        self._bytes += item.held_bytes
        if group is None:
            self._make_ready(item)
        elif group in self._followers:
            followers = self._followers[group] = self._followers[group] or deque()
            followers.append(item)
        else:
            self._followers[group] = None
            self._make_ready(item)

    def take(self, *, fresh_come: bool) -> Item | None:
        """The next to send: retries and first attempts in turn, as far as each has slots.

        None as well while there is no room for it. `fresh_come`: more first attempts may be read.
        """
        first = bool(self._fresh) and self._slots.takes_fresh(retrying=self._retrying)
        retry = bool(self._retries) and self._takes_retry(bool(self._fresh) or fresh_come)
        if not retry and not first:
            return None
        retry = retry and (not first or not self._retried_last)
        item = self._retries[0] if retry else self._fresh[0][1]
        if not self._slots.ask_for_room(item.held_bytes):
            return None
        self._retried_last = retry
        if retry:
            self._retries_left -= 1
            self._retries.popleft()
        else:
            heapq.heappop(self._fresh)
        self._drop(item)
        return item

    def go_on(self, group: bytes) -> None:
        """The group's message has arrived: its next may go."""
        followers = self._followers[group]
        if followers:
            self._make_ready(followers.popleft())
        else:
            del self._followers[group]

    def hold(self, group: bytes) -> None:
        """The group's message did not arrive: what is behind it stays there.

        Also behind one that is given up: its group goes on once that is committed.
        """
        self._stuck.add(group)
        for follower in self._followers.pop(group) or ():
            self._drop(follower)
            self._leave_behind(follower)

    def put_back(self, item: Item) -> None:
        """One that was taken and is not sent now: it is the next of its group still."""
        self._count += 1
        self._bytes += item.held_bytes
        self._make_ready(item)

    def put_behind(self, item: Item) -> None:
        """One of the log that was taken and is not sent now; its group waits for it."""
        self._leave_behind(item)
        if item.group_key is not None:
            self.hold(item.group_key)

    def unsent(self) -> Iterator[Item]:
        """What of the log is still here."""
        yield from (item for _, item in self._fresh)
        for followers in self._followers.values():
            yield from (item for item in followers or () if item.fresh)
        yield from self._outside

    def _takes_retry(self, fresh_wait: bool) -> bool:
        if fresh_wait and not self._retries_left > 0:
            return False
        return self._slots.takes_retry(fresh_wait=fresh_wait)

    def _make_ready(self, item: Item) -> None:
        if item.fresh:
            heapq.heappush(self._fresh, (item.message_id, item))
        else:
            self._retries.append(item)

    def _drop(self, item: Item) -> None:
        self._count -= 1
        self._bytes -= item.held_bytes

    def _leave_behind(self, item: Item) -> None:
        """It needs a row; one that is no message of the log has it already."""
        if item.fresh:
            item.let_go()
            self.behind.append(item)
