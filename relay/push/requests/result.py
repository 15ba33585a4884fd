"""How the requests of one run ended."""

import msgspec

from relay.push.item import Item


class BatchResult(msgspec.Struct, frozen=True):
    """How a run's requests ended.

    `settled` have a verdict, `in_flight` a token and no verdict yet; `behind` are messages of the
    log that need a row because the run passes them. Of the log every message up to `done_id` is
    settled, in flight or behind; None: every message that was read. `gone` is what a 410 said;
    `unable`: this relay could open no connection. `away` is why a queue takes nothing. An endpoint
    whose answers take longer than `slow_seconds` is slow beside others. So many messages that it
    got were `unsent` when the run ended. Others waited for it for `held_seconds`.
    `left_dead_letter`: a message that can't be sent stays in the log, since its dead letter is too
    large for others to wait for.
    """

    settled: list[Item]
    in_flight: list[Item]
    behind: list[Item]
    done_id: int | None
    sent: int
    gone: str | None
    unable: bool
    away: str | None
    slow_seconds: float
    unsent: int
    held_seconds: float
    left_dead_letter: bool

    @property
    def mean_seconds(self) -> float:
        """How long its requests took until they were answered."""
        answers = [item.answer for item in self.settled if item.answer is not None]
        return sum(answer.seconds for answer in answers) / max(len(answers), 1)

    @property
    def is_slow(self) -> bool:
        """Whether others in a run with it would have waited for its answers."""
        return self.mean_seconds > self.slow_seconds

    @property
    def is_lease_over(self) -> bool:
        """Whether requests were to be made, and the time to send was over for all of them."""
        answers = [item.answer for item in self.settled if item.answer is not None]
        unsent = sum(answer.error == "lease_over" for answer in answers)
        return 0 < unsent == self.sent
