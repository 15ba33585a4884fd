"""Receives from one queue, keeps what was received from others, and deletes it."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from relay.log.sink import SinkAway
from relay.push.away import Away
from relay.push.policy.settings import Queue as QueueSettings
from relay.push.sqs.client import THREADS, Client, fault
from relay.push.sqs.codes import DENIED
from relay.push.sqs.entry import MAX_BYTES
from relay.settings import Settings
from relay.sources.record import Record
from relay.sources.source import Source
from relay.sources.sqs.message import received

logger = structlog.get_logger()

# What one request takes.
MAX_MESSAGES = 10
# No more is received at once, however large the messages are that come next, or what one request
# brings: they are in memory several times until they have entered.
MAX_BATCH_BYTES = 33_554_432
# How long one waits for a first message, and each of several at once.
WAIT_SECONDS = 2
SHORT_WAIT_SECONDS = 1
# For how long others don't see what was received: as the queue has it, within these. It is
# prolonged while a batch lasts. What a killed relay had is seen again after so long, and a queue
# may say hours.
MIN_VISIBILITY_SECONDS, DEFAULT_VISIBILITY_SECONDS, MAX_VISIBILITY_SECONDS = 5, 30, 120
# A queue's numbers: a place in a FIFO queue's order has twenty digits.
_NUMBER = re.compile("[0-9]{1,40}")
# What the database keeps.
MAX_WAITING = 2**63 - 1
VISIBILITY = "VisibilityTimeout"
LARGEST = "MaximumMessageSize"
WAITING = "ApproximateNumberOfMessages"

Answer = TypeVar("Answer")


def settings_of(source: Source) -> QueueSettings:
    """Of the queue that it reads."""
    written = msgspec.json.decode(source.settings, type=dict[str, str])
    # How its messages are read is no matter of the queue.
    written.pop("unwrap", None)
    return msgspec.convert(written, QueueSettings)


class Received(NamedTuple):
    """A message: what it holds, what it is deleted by, and its place in a FIFO queue's order."""

    record: Record
    handle: str
    sequence: int


class Queue:
    """Opened with its credential read anew. Used by one thread."""

    def __init__(self, settings: QueueSettings, relay: Settings) -> None:
        """Raises SinkAway where it is not allowed, not there or not to be had."""
        self._url = settings.queue_url
        self._name = settings.queue_url.rsplit("/", 1)[-1]
        try:
            self._client = Client(settings, relay)
        except Away as away:
            raise SinkAway(str(away)) from None
        said = self._attributes()
        seconds = _number(said.get(VISIBILITY), DEFAULT_VISIBILITY_SECONDS)
        self._visibility_seconds = min(max(seconds, MIN_VISIBILITY_SECONDS), MAX_VISIBILITY_SECONDS)
        # How many requests at once: more while each comes back full.
        self._at_once = 1
        largest_bytes = max(_number(said.get(LARGEST), MAX_BYTES), 1)
        fitting = MAX_BATCH_BYTES // (MAX_MESSAGES * largest_bytes)
        self._most_at_once = max(min(fitting, THREADS), 1)

    def close(self) -> None:
        """Its connections."""
        self._client.close()

    def _attributes(self) -> dict[str, str]:
        """Empty where it may not be asked for them: who receives need not be allowed to."""
        try:
            return self._client.attributes()
        except Exception as wrong:
            answer = fault(wrong, 0.0, alone=True)
            if answer.error == DENIED:
                return {}
            raise SinkAway(f"{answer.error}: {answer.detail}") from None

    def waiting(self) -> int | None:
        """How many messages it has, as far as it knows and says. Raises SinkAway."""
        number = _number(self._attributes().get(WAITING), -1)
        return None if number < 0 else min(number, MAX_WAITING)

    def receive(self) -> list[Received]:
        """What comes next, of a FIFO queue in its order; empty after a while. Raises SinkAway."""
        at_once = self._at_once
        wait = WAIT_SECONDS if at_once == 1 else SHORT_WAIT_SECONDS
        answers = together([partial(self._receive, wait)] * at_once)
        found = [one for answer in answers if isinstance(answer, list) for one in answer]
        if not found:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise self._away(answer)
        full = len(found) == MAX_MESSAGES * at_once
        self._at_once = min(at_once * 2, self._most_at_once) if full else max(at_once // 2, 1)
        return sorted(found, key=lambda one: one.sequence)

    def _receive(self, wait_seconds: int) -> list[Received]:
        said = self._client.call(
            "receive_message",
            MaxNumberOfMessages=MAX_MESSAGES,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._visibility_seconds,
            AttributeNames=["MessageGroupId", "SequenceNumber"],
            MessageAttributeNames=["All"],
        )
        return [self._received(one) for one in said.get("Messages") or ()]

    def _received(self, message: dict[str, Any]) -> Received:
        order = _number((message.get("Attributes") or {}).get("SequenceNumber"), 0)
        return Received(received(message, self._name), message["ReceiptHandle"], order)

    def delete(self, messages: Sequence[Received]) -> None:
        """They have entered. One that comes again is known. Raises SinkAway where none can be."""

        def delete(part: Sequence[Received]) -> None:
            said = self._client.call("delete_message_batch", Entries=_entries(part))
            for one in said.get("Failed") or ():
                logger.debug("message_not_deleted", queue=self._name, code=one.get("Code"))

        for answer in together([partial(delete, part) for part in _parts(messages)]):
            if isinstance(answer, Exception):
                raise self._away(answer)

    @contextmanager
    def held(self, messages: Sequence[Received]) -> Iterator[None]:
        """Nobody else receives them while this lasts, however long."""
        over = threading.Event()

        def hold() -> None:
            while not over.wait(self._visibility_seconds / 3):
                for part in _parts(messages):
                    self._hold(part)

        # A daemon: one that hangs keeps no process from its end.
        threading.Thread(target=hold, name="visibility", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _hold(self, part: Sequence[Received]) -> None:
        seconds = self._visibility_seconds
        entries = [one | {VISIBILITY: seconds} for one in _entries(part)]
        try:
            self._client.call("change_message_visibility_batch", Entries=entries)
        except Exception as wrong:
            # Then they may come again, and are known.
            answer = fault(wrong, 0.0, alone=True)
            logger.warning("messages_not_held", queue=self._name, fault=answer.error)

    def _away(self, wrong: Exception) -> SinkAway:
        answer = fault(wrong, 0.0, alone=True)
        return SinkAway(f"{answer.error}: {answer.detail}")


def _number(said: Any, otherwise: int) -> int:
    """As the queue writes one; `otherwise` where it says none."""
    return int(said) if isinstance(said, str) and _NUMBER.fullmatch(said) else otherwise


def _parts(messages: Sequence[Received]) -> list[Sequence[Received]]:
    return [messages[at : at + MAX_MESSAGES] for at in range(0, len(messages), MAX_MESSAGES)]


def _entries(part: Sequence[Received]) -> list[dict[str, Any]]:
    return [{"Id": str(at), "ReceiptHandle": one.handle} for at, one in enumerate(part)]


def together(calls: Sequence[Callable[[], Answer]]) -> list[Answer | Exception]:
    """What each gave back or raised, in their order: the first in this thread, others in theirs."""
    answers: list[Answer | Exception] = [RuntimeError("not called")] * len(calls)

    def call(at: int) -> None:
        try:
            answers[at] = calls[at]()
        except Exception as wrong:
            answers[at] = wrong

    # Daemons: one that hangs keeps no process from its end.
    threads = [
        threading.Thread(target=call, args=[at], name="queue", daemon=True)
        for at in range(1, len(calls))
    ]
    for thread in threads:
        thread.start()
    if calls:
        call(0)
    for thread in threads:
        thread.join()
    return answers
