"""What the Kafka sink knows of the topics that its channels go to."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import msgspec
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from relay.kafka.asking_client import AskingClient
from relay.kafka.rules import KAFKA, Rules
from relay.kafka.topic import ASK_TIMEOUT_SECONDS, Asked, Closed, Topic, not_shown
from relay.kafka.topic_names import TopicNames
from relay.log.sink import SinkAway

# How often topics that take nothing are asked for again, all together; of very many some each time.
MISSING_AGAIN_SECONDS = 0.5
# So many by their names; of more the cluster is first asked which there are.
MAX_ASKED = 250
# And how often a message is tried on a topic that is there but refused to be written to.
REFUSED_AGAIN_SECONDS = 5.0
FIND_TIMEOUT_SECONDS = 1.0
# A topic that no run has looked for is forgotten: its channel was dropped, or another relay has it.
# And however many names are made up, no more of those for which nothing waits are remembered.
FORGOTTEN_SECONDS = 60.0
MAX_REMEMBERED = 10_000
KAFKAS_OWN = frozenset(
    ("__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata")
)


class Missing(msgspec.Struct):
    """A topic that took nothing when it was last asked for: it was not there, not for this user, or
    could not be written to. Times are of the monotonic clock.

    `closed` is None until there is an answer. `wanted_at`: when a channel that waits asked for it.
    `refused`: a message was, though the topic is there; `found`: by now it is there, and a message
    can be tried.
    """

    name: str
    closed: Closed | None = None
    asked_at: float = float("-inf")
    wanted_at: float = float("-inf")
    refused: bool = False
    found: bool = False

    def is_fresh(self, now: float) -> bool:
        """Whether it need not be asked for again."""
        again_seconds = REFUSED_AGAIN_SECONDS if self.refused else MISSING_AGAIN_SECONDS
        return not self.found and now < self.asked_at + again_seconds


class Topics:
    """Topics of some names in a cluster, looked up once, and again while they take nothing.

    `own` is the topic of the relay's own cursors, to which no message goes.
    """

    def __init__(
        self, asking: AskingClient, names: TopicNames, own: str, rules: Rules = KAFKA
    ) -> None:
        self._asking = asking
        self._names = names
        self._rules = rules
        self.own = own
        self._missing: dict[bytes, Missing] = {}
        self._answers: dict[bytes, Asked] = {}
        self._asked_at = float("-inf")

    def look_up(self, channels: Iterable[bytes]) -> dict[bytes, Topic | Missing]:
        """The topics of these channels, by three requests at most for all together.

        Raises SinkAway where the cluster does not answer.
        """
        now = time.monotonic()
        found: dict[bytes, Topic | Missing] = {}
        unknown: list[bytes] = []
        for channel in channels:
            missing = self._missing.get(channel)
            if missing is not None and missing.is_fresh(now) and missing.closed is not None:
                found[channel] = missing
            else:
                unknown.append(channel)
        if len(unknown) > MAX_ASKED:
            unknown = self._in_sight(unknown, found, now)
        elif unknown:
            self.find_broker()
        for channel, asked in self.ask(unknown).items():
            # A leader that is missing is mostly there in a moment: only a topic that has held a run
            # up is looked at so closely.
            topic = asked.found(writable=channel in self._missing)
            if isinstance(topic, Topic):
                found[channel] = topic
                self._missing.pop(channel, None)
            else:
                found[channel] = self._missing[channel] = Missing(asked.name, topic, now)
        if len(self._missing) > MAX_REMEMBERED:
            self._forget(now)
        return found

    def _in_sight(
        self, channels: Iterable[bytes], found: dict[bytes, Topic | Missing], now: float
    ) -> list[bytes]:
        """Those whose topics the cluster shows at all; the others are found to be missing.

        Describing a topic that is not there costs about a millisecond, and a publisher can make up
        names by the thousand.
        """
        try:
            shown = self._asking.client.list_topics(timeout=ASK_TIMEOUT_SECONDS).topics
        except KafkaException as failed:
            raise SinkAway(f"metadata of all topics: {failed.args[0].str()}") from failed
        in_sight = []
        for channel in channels:
            name = self._names.of(channel)
            if name in shown:
                in_sight.append(channel)
            else:
                closed = not_shown(name, self._rules)
                found[channel] = self._missing[channel] = Missing(name, closed, now)
        return in_sight

    def is_own(self, channel: bytes) -> bool:
        """Whether the channel's topic is the relay's own: prefix and channel name it together."""
        return self._names.of(channel) == self.own

    def kafkas_own(self, channel: bytes) -> str | None:
        """The channel's topic where it is one of those that brokers keep for themselves."""
        name = self._names.of(channel)
        return name if name in KAFKAS_OWN else None

    def check_missing(self, channel: bytes) -> bool:
        """Whether the topic of a channel that waits was missing when all that wait were last asked
        for together. Waits for no answer.
        """
        now = time.monotonic()
        missing = self._missing.get(channel)
        if missing is None:
            # Found missing by another relay, or before this one's start.
            name = self._names.of(channel)
            missing = self._missing[channel] = Missing(name)
        missing.wanted_at = now
        self._ask_again(now)
        return not missing.found

    def is_temporary(self, channel: bytes) -> bool:
        """Whether a channel waits for what passes by itself, and not for its topic to be made."""
        missing = self._missing.get(channel)
        return missing is not None and missing.closed is not None and missing.closed.temporary

    def note_unwritable(self, answers: Mapping[bytes, Asked]) -> dict[bytes, str]:
        """Which of these take no message now, and why: their channels wait from now on."""
        now = time.monotonic()
        reasons = {}
        for channel, asked in answers.items():
            try:
                topic = asked.found(writable=True)
            except SinkAway:
                continue
            if isinstance(topic, Closed):
                reasons[channel] = topic.reason
                self._missing[channel] = Missing(asked.name, topic, now)
        return reasons

    def note_refused(self, channel: bytes, closed: Closed) -> None:
        """Notes that a message was refused though the topic is there: its metadata can't tell."""
        now = time.monotonic()
        name = self._names.of(channel)
        self._missing[channel] = Missing(name, closed, now, refused=True)

    def _ask_again(self, now: float) -> None:
        """Takes the answers that have come, and asks for what is due."""
        if self._answers:
            if not all(answer.done() for answer in self._answers.values()):
                return
            answered = [self._take(*answer, now) for answer in self._answers.items()]
            self._answers = {}
            self._asking.note_answers(now, any_came=any(answered))
            if not all(answered):
                self.find_broker()
        if now < self._asked_at + MISSING_AGAIN_SECONDS:
            return
        self._asked_at = now
        self._forget(now)
        due = [
            channel
            for channel, missing in self._missing.items()
            if not missing.found and not missing.is_fresh(now)
        ]
        due.sort(key=lambda channel: self._missing[channel].asked_at)
        self._answers = self.ask(due[:MAX_ASKED])

    def _forget(self, now: float) -> None:
        """What no channel that waits has asked for; a refusal is remembered here alone."""
        self._missing = {
            channel: missing
            for channel, missing in self._missing.items()
            if now < missing.wanted_at + FORGOTTEN_SECONDS
            or (missing.refused and missing.is_fresh(now))
        }

    def _take(self, channel: bytes, asked: Asked, now: float) -> bool:
        """Whether it was an answer."""
        missing = self._missing.get(channel)
        if missing is None:
            return True
        missing.asked_at = now
        try:
            topic = asked.found(writable=True)
        except SinkAway:
            # The next run that sends a message will say so.
            return False
        missing.found = isinstance(topic, Topic)
        if isinstance(topic, Closed):
            missing.closed, missing.refused = topic, False
        return True

    def find_broker(self) -> None:
        """Learns anew which broker can be asked: the one that was known may be gone, and librdkafka
        would wait for it.
        """
        with suppress(KafkaException):
            self._asking.client.list_topics(self.own, timeout=FIND_TIMEOUT_SECONDS)

    def ask(
        self, channels: Iterable[bytes], timeout_seconds: float = ASK_TIMEOUT_SECONDS
    ) -> dict[bytes, Asked]:
        """Two requests for all, with what the relay's user may do with them. One where the rules of
        the cluster say what its topics take.
        """
        names = {channel: self._names.of(channel) for channel in channels}
        if not names:
            return {}
        descriptions = self._asking.client.describe_topics(
            TopicCollection(list(names.values())),
            include_authorized_operations=self._rules.asks,
            request_timeout=timeout_seconds,
        )
        configs = self._configs(names.values(), timeout_seconds) if self._rules.asks else {}
        return {
            channel: Asked(name, descriptions[name], configs.get(name), self._rules)
            for channel, name in names.items()
        }

    def _configs(
        self, names: Iterable[str], timeout_seconds: float
    ) -> dict[str, Future[Mapping[str, Any]]]:
        """By topic."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._asking.client.describe_configs(resources, request_timeout=timeout_seconds)
        return {resource.name: answer for resource, answer in answers.items()}
