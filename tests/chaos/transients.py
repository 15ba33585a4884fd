"""Transient subscriptions: which ones come and go, and when what is done to them, from a seed."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tests.chaos.places import (
    AUDIT,
    BILLING,
    CHANNELS,
    HEARTBEAT,
    LATE,
    NARROW,
    PARCELS,
)

TOGETHER = 20
# The first come one right after the other, so that they are there before the first fault.
FIRST_SECONDS = 0.1
MIN_SECONDS, MAX_SECONDS = 0.5, 1.5

MAKE, PAUSE, RESUME, DELETE = "make", "pause", "resume", "delete"
# Each that comes needs topics, and a broker that comes back looks into each of them.
WEIGHTS = {MAKE: 2, PAUSE: 4, RESUME: 4, DELETE: 1}

KAFKA, HTTP = "kafka", "http"
# Of each kind its share, and what its subscriptions want: channels and types, None for all. An
# endpoint costs a request for each message, so those to it want little.
SHARES = {KAFKA: 7, HTTP: 3}
Names = tuple[str, ...] | None
SMALL_FILTERS: tuple[tuple[Names, Names], ...] = (
    ((HEARTBEAT, "payment.success"), None),
    (None, ("chaos.alone", "chaos.oversize")),
    ((NARROW,), None),
)
LARGE_FILTERS: tuple[tuple[Names, Names], ...] = (
    ((PARCELS,), None),
    ((LATE, PARCELS), ("chaos.step",)),
    ((AUDIT, BILLING), ("chaos.step",)),
    (None, None),
)
# Where a type is written, for those that name no channels.
CHANNELS_OF = {"chaos.alone": PARCELS, "chaos.oversize": NARROW}
FILTERS = {KAFKA: (*SMALL_FILTERS * 2, *LARGE_FILTERS), HTTP: SMALL_FILTERS}


class Transient(NamedTuple):
    """A subscription that comes and goes."""

    name: str
    kind: str
    channels: Names
    types: Names

    @property
    def prefix(self) -> str:
        """Of its topics, where it is one to Kafka."""
        return f"{self.name}."

    @property
    def path(self) -> str:
        """Of its requests, where it is one to the endpoint."""
        return f"/{self.name}"

    @property
    def topics(self) -> dict[str, str]:
        """Each topic's channel; none for the endpoint."""
        if self.kind != KAFKA:
            return {}
        channels = self.channels or CHANNELS
        if self.channels is None and self.types is not None:
            channels = tuple(CHANNELS_OF[type_] for type_ in self.types)
        return {self.prefix + channel: channel for channel in channels}

    def wants(self, channel: str, type_: str) -> bool:
        """Whether such a message is one for it."""
        return (self.channels is None or channel in self.channels) and (
            self.types is None or type_ in self.types
        )


class Step(NamedTuple):
    """What is done to one, at so many seconds from the start."""

    at_seconds: float
    deed: str
    transient: Transient


def plan(seed: int, seconds: float) -> list[Step]:
    """All of a campaign's in their order. Those that are left at its end are there for good."""
    random = Random(f"transients of {seed}")
    steps: list[Step] = []
    active: list[Transient] = []
    paused: list[Transient] = []
    made, at = 0, 0.0
    while at < seconds:
        deed = MAKE
        if made >= TOGETHER:
            possible = {
                MAKE: len(active) + len(paused) < TOGETHER,
                PAUSE: active,
                RESUME: paused,
                DELETE: active or paused,
            }
            deeds = [one for one, able in possible.items() if able]
            (deed,) = random.choices(deeds, [WEIGHTS[one] for one in deeds])
        if deed == MAKE:
            made += 1
            one = _draw(random, made)
            active.append(one)
        elif deed == PAUSE:
            one = _take(random, active)
            paused.append(one)
        elif deed == RESUME:
            one = _take(random, paused)
            active.append(one)
        else:
            one = _take(random, random.choice([each for each in (active, paused) if each]))
        steps.append(Step(at, deed, one))
        at += random.uniform(MIN_SECONDS, MAX_SECONDS) if made >= TOGETHER else FIRST_SECONDS
    return steps


def _draw(random: Random, number: int) -> Transient:
    (kind,) = random.choices(list(SHARES), list(SHARES.values()))
    return Transient(f"t{number}", kind, *random.choice(FILTERS[kind]))


def _take(random: Random, those: list[Transient]) -> Transient:
    return those.pop(random.randrange(len(those)))


def made_in(steps: Sequence[Step]) -> list[Transient]:
    """Each that comes, in the order of their coming."""
    return [step.transient for step in steps if step.deed == MAKE]
