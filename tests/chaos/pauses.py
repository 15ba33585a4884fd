"""How long deliveries stood still because of a fault, from the times at which heartbeats came."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from tests.chaos.write_pause import Interval

# A pause may begin a moment after its cause is over: a connection that was cut is dialled anew.
AFTERMATH_SECONDS = 1.0


class Injected(NamedTuple):
    """A fault that struck, from `began` to `ended` on the monotonic clock, in seconds."""

    fault: str
    target: str
    began: float
    ended: float


def longest_pause(
    arrivals: Sequence[float], injected: Injected, write_pauses: Sequence[Interval], until: float
) -> float:
    """Seconds of the longest time without an arrival while a fault was on, or right after it.

    Counted from the fault's beginning at the earliest to the arrival that ended it, but for the
    write pauses. `arrivals` in their order; a pause that no arrival ended lasts `until`.
    """
    longest = 0.0
    before = injected.began
    for index in range(bisect_right(arrivals, injected.began), len(arrivals)):
        longest = max(longest, waited(Interval(before, arrivals[index]), write_pauses))
        before = arrivals[index]
        if before >= injected.ended + AFTERMATH_SECONDS:
            return longest
    return max(longest, waited(Interval(before, until), write_pauses))


def waited(pause: Interval, write_pauses: Sequence[Interval]) -> float:
    """Seconds of a pause in which there was something to wait for."""
    quiet = (
        min(pause.ended, write_pause.ended) - max(pause.began, write_pause.began)
        for write_pause in write_pauses
    )
    return pause.ended - pause.began - sum(seconds for seconds in quiet if seconds > 0)


def alone(injected: Injected, others: Sequence[Injected], seconds: float) -> bool:
    """Whether no other fault was on from a moment before it until its pause of `seconds` ended."""
    begin = injected.began - AFTERMATH_SECONDS
    end = max(injected.ended, injected.began + seconds)
    return not any(
        other is not injected and other.began < end and other.ended + AFTERMATH_SECONDS > begin
        for other in others
    )
