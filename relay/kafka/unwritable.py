"""Whether a run that is not acknowledged waits for the cluster, or for some of its topics."""

import time
from collections.abc import Iterable, Mapping

from relay.kafka.topic import Asked
from relay.kafka.topics import MISSING_AGAIN_SECONDS, Topics

# A broker that does not answer sooner may be gone, and another one is asked.
ANSWER_SECONDS = 1.0


class Unwritable(Exception):
    """Some of the `topics` take nothing now: `reasons` by channel. The others are not to blame."""

    def __init__(self, topics: Topics, reasons: Mapping[bytes, str]) -> None:
        super().__init__(", ".join(reasons.values()))
        self.topics = topics
        self.reasons = reasons


class UnwritableCheck:
    """Asks for the topics of one run, again and again while it is not acknowledged."""

    def __init__(self, topics: Topics, channels: Iterable[bytes]) -> None:
        self._topics = topics
        self._channels = list(channels)
        self._answers: dict[bytes, Asked] = {}
        self._asked_at = float("-inf")

    def look(self) -> None:
        """Raises Unwritable where some take nothing by the answers that have come. Waits for none.

        What was asked before the run was in doubt would not count: a leader may be back.
        """
        now = time.monotonic()
        if self._answers and all(asked.done() for asked in self._answers.values()):
            reasons = self._topics.note_unwritable(self._answers)
            if reasons:
                raise Unwritable(self._topics, reasons)
            self._answers = {}
        if not self._answers and now >= self._asked_at + MISSING_AGAIN_SECONDS:
            self._asked_at = now
            self._topics.find_broker()
            self._answers = self._topics.ask(self._channels, ANSWER_SECONDS)
