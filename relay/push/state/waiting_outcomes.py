"""The outcomes that wait to be written after their run, and whose turn it is."""

import threading
from collections import deque

from relay.push.fair_turns import Owner
from relay.push.state.late_outcomes import Late


class WaitingOutcomes:
    """At most `most`. Owners have their turns, so that one whose thousand requests end at once
    keeps no other one's group waiting. Safe from every thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._condition = threading.Condition()
        self._of: dict[Owner, deque[Late]] = {}
        self._count = 0
        self._closed = False

    def put(self, one: Late) -> Late | None:
        """At once. Where there is no room, the latest of the owner that has most is left out, and
        returned.
        """
        with self._condition:
            owner = one.target.owner
            self._of.setdefault(owner, deque()).append(one)
            self._count += 1
            self._condition.notify()
            if self._count <= self._most:
                return None
            # Of equals it is the one that asks for more.
            largest = max(self._of, key=lambda of: (len(self._of[of]), of == owner))
            return self._pop(largest, last=True)

    def close(self) -> None:
        """No more comes."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def take(self, most: int, timeout_seconds: float | None) -> tuple[list[Late], bool]:
        """At most so many, by turns, once there are any or the time is over; and whether more may
        come.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._count or self._closed, timeout_seconds)
            taken: list[Late] = []
            while self._of and len(taken) < most:
                owners = list(self._of)[: most - len(taken)]
                taken += [self._pop(owner, last=False) for owner in owners]
            return taken, not self._closed or self._count > 0

    def _pop(self, owner: Owner, *, last: bool) -> Late:
        waiting = self._of[owner]
        one = waiting.pop() if last else waiting.popleft()
        self._count -= 1
        if not waiting:
            del self._of[owner]
        return one
