"""What is in a queue, received as any consumer receives it."""

from collections.abc import Callable
from typing import Any

import msgspec

AT_ONCE = 10

# Of an action of SQS by its parameters. Raises OSError, and ValueError where it is refused.
Ask = Callable[..., dict[str, Any]]


class Received(msgspec.Struct, frozen=True):
    """A message of the queue. Those of one group come in the order of their sending."""

    idempotency_key: str
    payload: bytes


class Queue:
    """Its only consumer. `url` is where it is; `received` is all that was taken from it."""

    def __init__(self, url: str, ask: Ask) -> None:
        self.url = url
        self.received: list[Received] = []
        self._ask = ask

    def count(self) -> int:
        """How many messages came to it. Raises OSError, ValueError."""
        name = "ApproximateNumberOfMessages"
        said = self._ask("GetQueueAttributes", QueueUrl=self.url, AttributeNames=[name])
        return len(self.received) + int(said["Attributes"][name])

    def drain(self) -> list[Received]:
        """All that ever came: receives and deletes what is left. Raises OSError, ValueError."""
        while messages := self._receive():
            for message in messages:
                attributes = message["MessageAttributes"]
                key = attributes["idempotency-key"]["StringValue"]
                self.received.append(Received(key, message["Body"].encode()))
            self._delete(messages)
        return self.received

    def _receive(self) -> list[dict[str, Any]]:
        said = self._ask(
            "ReceiveMessage",
            QueueUrl=self.url,
            MaxNumberOfMessages=AT_ONCE,
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = said.get("Messages") or []
        return messages

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        """Else its group's next would stay hidden for half a minute."""
        entries = [
            {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
            for place, message in enumerate(messages)
        ]
        self._ask("DeleteMessageBatch", QueueUrl=self.url, Entries=entries)
