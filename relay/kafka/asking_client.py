"""The client by which a cluster is asked about its topics; a new one where it is told nothing."""

from collections.abc import Callable

from confluent_kafka.admin import AdminClient

# Once no question was answered for so long, the next ones go by a new client. librdkafka forgets
# its brokers where metadata names none, as that of a lone broker does which its controller counted
# as gone for a moment; and then that client may never ask anybody again.
# https://github.com/confluentinc/librdkafka/issues/5301
UNANSWERED_SECONDS = 10.0


class AskingClient:
    """One for all topics of a session, which goes on: a channel that waits for its topic stops none
    whose messages arrive, even where a cluster takes them and answers no question.
    """

    def __init__(self, make: Callable[[], AdminClient]) -> None:
        """Raises KafkaException, as `make` does."""
        self._make = make
        self.client = make()
        self._unanswered_since: float | None = None

    def note_answers(self, now: float, *, any_came: bool) -> None:
        """What came of the questions that were asked last, by the monotonic clock."""
        if any_came:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
        elif now > self._unanswered_since + UNANSWERED_SECONDS:
            self.client = self._make()
            self._unanswered_since = None
