"""How long the relay waits between two probes of all cursors."""

from collections import deque

# The more cursors there are the more a probe costs. After one, Postgres does other things for the
# greater part of the time; a quiet relay waits much longer. What else the machine does makes a
# probe slow as well: the quickest of the last ones tells what it costs. However slow one was, the
# next is due soon: no other look finds what goes alone, or what time has made due.
NEWS_SECONDS = 0.01
QUIET_SECONDS = 0.2
MAX_SECONDS = 0.5
NEWS_SHARE = 1 / 3
QUIET_SHARE = 1 / 200
PROBES = 8


class ProbePace:
    """By what the last probes took."""

    def __init__(self) -> None:
        self._seconds = deque([0.0], maxlen=PROBES)

    def note(self, seconds: float) -> None:
        """A probe took so long, whatever it found."""
        self._seconds.append(seconds)

    def interval_seconds(self, *, has_news: bool) -> float:
        """Until the next one; `has_news`: the log has grown since the last."""
        if has_news:
            seconds = max(NEWS_SECONDS, self._seconds[-1] / NEWS_SHARE)
        else:
            seconds = max(QUIET_SECONDS, min(self._seconds) / QUIET_SHARE)
        return min(seconds, MAX_SECONDS)
