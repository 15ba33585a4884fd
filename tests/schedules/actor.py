"""One session of a schedule: a thread that takes a step when told, and else stands still."""

import threading
from collections.abc import Callable, Sequence

from tests.schedules.script import ROUND_ENDS

END_TIMEOUT_SECONDS = 10.0


class Ended(Exception):
    """The schedule is over before its sessions are."""


class Actor:
    """Lives `life` in a thread of its own; `life` asks for each step by `next_step`.

    `stops_when_freed`: once it has a lock that it waited for, it stands still until it is told to
    `go_on`, since `life` says so by `freed`.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[str],
        life: "Life",
        pid: "Pid",
        *,
        stops_when_freed: bool,
    ) -> None:
        self.name = name
        self.pid = pid
        self.stops_when_freed = stops_when_freed
        # Whether its step is not over yet, and whether that is because it waits for a lock.
        self.running = False
        self.waiting = False
        self._steps = steps
        self._taken = 0
        self._fault: BaseException | None = None
        self._ended = False
        # Not queue.SimpleQueue: its get(timeout) was seen to wait for ever (CPython 3.11, busy).
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, args=[life], name=name, daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """How many steps it still has to take."""
        return len(self._steps) - self._taken

    @property
    def next(self) -> str:
        """The step that it takes next."""
        return self._steps[self._taken]

    def go(self) -> None:
        """Starts its next step."""
        self.running = True
        self._go.release()

    def over(self, timeout_seconds: float) -> bool:
        """Whether its step is over by then. Raises what the step raised."""
        if not self._stands_still(timeout_seconds):
            return False
        self.running = False
        return True

    def go_on(self, timeout_seconds: float) -> bool:
        """The rest of the step whose lock it has by now; False: it is not known to have it by then.

        Raises what the step raised.
        """
        if self.stops_when_freed and not self._stands_still(timeout_seconds):
            return False
        self.waiting = False
        if self.stops_when_freed:
            self._go.release()
        return True

    def _stands_still(self, timeout_seconds: float) -> bool:
        if not self._stopped.acquire(timeout=timeout_seconds):
            return False
        if self._fault is not None:
            raise self._fault
        return True

    def end(self) -> None:
        """Ends the thread, at the latest when its session was closed."""
        self._ended = True
        self._go.release()
        self._thread.join(END_TIMEOUT_SECONDS)

    def next_step(self) -> str | None:
        """Tells that the step so far is over and returns the next when it is due; None: no more."""
        if self._taken:
            self._stopped.release()
        self._go.acquire()
        if self._ended:
            return None
        self._taken += 1
        return self._steps[self._taken - 1]

    def freed(self) -> None:
        """`life` has a lock; where it had to wait for it, it goes on when it is told. Raises Ended.

        `waiting` can't change meanwhile: it was set before any other session could free this one.
        """
        if self.waiting:
            self._stopped.release()
            self._go.acquire()
            if self._ended:
                raise Ended

    def leave_out_the_round(self) -> None:
        """The reader's round is over before its steps are: none of these is left to take."""
        while self._steps[self._taken - 1] not in ROUND_ENDS:
            self._taken += 1

    def _live(self, life: "Life") -> None:
        try:
            life(self)
        except BaseException as fault:
            self._fault = fault
            self._stopped.release()


# What a session does, and the pid of its backend.
Life = Callable[[Actor], None]
Pid = Callable[[], int]
