"""A session with one topic: fills requests on the request loop, and hands out their answers there.

gRPC has threads of its own, and calls back in one of them.
"""

import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from relay.push.away import Away
from relay.push.http.answer import Answer, unanswered
from relay.push.policy.settings import Topic
from relay.push.policy.verdict import AWAY
from relay.push.pubsub import codes
from relay.push.pubsub.client import Client
from relay.push.pubsub.message import FRAME_BYTES, MAX_REQUEST_BYTES, Message
from relay.settings import Settings

# Of at most a thousand: with more than this a request costs no less for each message.
MAX_MESSAGES = 100
# How long a topic that is away is left alone.
AWAY_SECONDS = 5.0

Answered = Callable[[Answer], None]


class Batch:
    """Messages that go together, until their answer is there."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.answered: list[Answered] = []
        self.size = FRAME_BYTES
        # By time.monotonic(): no request is begun from then on.
        self.before = float("inf")
        self.began_at = time.monotonic()

    def takes(self, message: Message) -> bool:
        return len(self.messages) < MAX_MESSAGES and self.size + message.size <= MAX_REQUEST_BYTES

    def add(self, message: Message, before: float, answered: Answered) -> None:
        self.messages.append(message)
        self.answered.append(answered)
        self.size += message.size
        self.before = min(self.before, before)

    def divided(self) -> list["Batch"]:
        """One for each message, with the time that is left to all."""
        parts = []
        for message, answered in zip(self.messages, self.answered, strict=True):
            part = Batch()
            part.began_at = self.began_at
            part.add(message, self.before, answered)
            parts.append(part)
        return parts

    def end(self, answer: Answer) -> None:
        for answered in self.answered:
            answered(answer)


class Session:
    """Opened and closed by any thread, used on the loop."""

    def __init__(self, loop: AbstractEventLoop, settings: Settings, to: Topic) -> None:
        self.to = to
        self._loop = loop
        self._settings = settings
        self._client: Client | None = None
        # What the topic said when it was let go.
        self._last = unanswered(codes.REFUSED, "it is not open", 0.0)
        self._due_at = 0.0
        # Of messages without a key.
        self._filling: Batch | None = None

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def is_due(self) -> bool:
        """Whether it may be tried by now."""
        return time.monotonic() >= self._due_at

    def open(self) -> None:
        """Reads the credential anew and looks for the topic. Raises Away. It may take its time."""
        self._due_at = time.monotonic() + AWAY_SECONDS
        try:
            client = Client(self.to, self._settings)
        except Away:
            raise
        except Exception as wrong:
            raise Away(f"no client can be made for it: {type(wrong).__name__}") from wrong
        lacking = client.look()
        if lacking is not None and lacking.error in (codes.DENIED, codes.REFUSED):
            # Sending tells.
            lacking = None
        if lacking is not None:
            client.close()
            raise Away(f"{lacking.error}: {lacking.detail}")
        self._client = client

    def close(self) -> None:
        """What is sent by now is answered; then its channel closes."""
        client, self._client = self._client, None
        # The loop may have ended.
        with suppress(RuntimeError):
            if client is not None:
                self._loop.call_soon_threadsafe(client.let_go)

    def put(self, message: Message, before: float, answered: Answered) -> None:
        """Sends it; `answered` is called later. No request is begun at or after `before`.

        A request holds one ordering key, and of a key one message is under way: it goes alone.
        Those without a key go with what else comes in this turn of the loop.
        """
        if message.key:
            alone = Batch()
            alone.add(message, before, answered)
            self._send(alone)
            return
        batch = self._filling
        if batch is not None and not batch.takes(message):
            self._send_filled()
        if self._filling is None:
            self._filling = Batch()
            self._loop.call_soon(self._send_what_is, self._filling)
        self._filling.add(message, before, answered)
        if len(self._filling.messages) == MAX_MESSAGES:
            self._send_filled()

    def _send_what_is(self, batch: Batch) -> None:
        if self._filling is batch:
            self._send_filled()

    def _send_filled(self) -> None:
        batch, self._filling = self._filling, None
        assert batch is not None
        self._send(batch)

    def _send(self, batch: Batch) -> None:
        client, now = self._client, time.monotonic()
        seconds_left = batch.began_at + self.to.timeout_seconds - now
        if client is None:
            # It was let go a moment ago.
            self._loop.call_soon(batch.end, self._last)
        elif now >= batch.before:
            late = unanswered("lease_over", "the time to send was over before it was sent", 0.0)
            self._loop.call_soon(batch.end, late)
        elif seconds_left <= 0:
            self._loop.call_soon(batch.end, codes.of_call("DEADLINE_EXCEEDED", "", 0.0))
        else:
            try:
                client.publish(batch.messages, seconds_left, partial(self._done, client, batch))
            except Exception as fault:
                wrong = unanswered("fault", type(fault).__name__, 0.0)
                self._loop.call_soon(batch.end, wrong)

    def _done(self, client: Client, batch: Batch, call: Any) -> None:
        """In a thread of gRPC's."""
        answer = client.answer(call, len(batch.messages), time.monotonic() - batch.began_at)
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, client, batch, answer)

    def _end(self, client: Client, batch: Batch, answer: Answer) -> None:
        client.end_call()
        if answer.error == codes.OF_ONE and len(batch.messages) > 1:
            # It says nothing of which of them it was.
            for part in batch.divided():
                self._send(part)
            return
        if answer.error in AWAY and client is self._client:
            # It is opened anew in a while, and asked for nothing until then.
            self._last = answer
            self._due_at = time.monotonic() + AWAY_SECONDS
            self._client = None
            client.let_go()
        batch.end(answer)
