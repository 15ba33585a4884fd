"""Which fault strikes what and when: drawn from a seed, so that a campaign can be told again."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

RELAYS = ("relay-a", "relay-b")
SERVICE = "service"
ENDPOINT = "endpoint"
KAFKA = "kafka"
POSTGRES = "postgres"
OTHER_KAFKA = "kafka-2"
QUEUE = "sqs"
KAFKA_WIRE = "wire to Kafka"
POSTGRES_WIRE = "wire to Postgres"
BACKEND = "backend"
SNAPSHOT = "snapshot"
TARGETS = (
    *RELAYS,
    SERVICE,
    ENDPOINT,
    KAFKA,
    POSTGRES,
    OTHER_KAFKA,
    QUEUE,
    KAFKA_WIRE,
    POSTGRES_WIRE,
    BACKEND,
    SNAPSHOT,
)

# Between two faults. Most are still on, or being recovered from, when the next one strikes.
MIN_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 2.0
# Before the first, so that there is something to break.
WARM_UP_SECONDS = 3.0


class Fault(NamedTuple):
    """A kind of fault: `weight` is its share among all, `seconds` how long it may last.

    `recovery_seconds`: how long its target is busy coming back, about; it is left alone meanwhile,
    and so are those `besides`.
    """

    name: str
    targets: tuple[str, ...]
    weight: float
    seconds: tuple[float, float]
    recovery_seconds: float
    what: str
    besides: tuple[str, ...] = ()

    @property
    def kills(self) -> bool:
        """Whether it ends a process by SIGKILL."""
        return self.name.startswith("kill-")


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-relay", RELAYS, 12, (0, 1), 3, "kill -9 of a relay, started again"),
        Fault("kill-service", (SERVICE,), 6, (0, 0.5), 2, "kill -9 of the service, started again"),
        Fault(
            "kill-endpoint",
            (ENDPOINT,),
            2,
            (0, 3),
            2,
            "kill -9 of the webhooks' receiver, restarted",
        ),
        Fault("kill-kafka", (KAFKA,), 0.8, (0, 1), 10, "kill -9 of Kafka, started again"),
        Fault(
            "kill-kafka-2",
            (OTHER_KAFKA,),
            0.8,
            (0, 1),
            10,
            "kill -9 of the Kafka that connectors lead to, started again",
            # Two that start at once take each other's time.
            besides=(KAFKA, QUEUE),
        ),
        Fault(
            "kill-sqs",
            (QUEUE,),
            0.8,
            (0, 1),
            8,
            "kill -9 of the queue's server, which is emptied first",
            besides=(KAFKA, OTHER_KAFKA),
        ),
        Fault("kill-postgres", (POSTGRES,), 0.8, (0, 1), 6, "kill -9 of Postgres, started again"),
        Fault(
            "switch-postgres",
            (POSTGRES,),
            1.2,
            (0, 2),
            8,
            "its standby takes over; the former primary keeps its connections",
            besides=(POSTGRES_WIRE,),
        ),
        # So quiet that each relay meets the new broker with the producers of before.
        Fault(
            "rest-kafka",
            (KAFKA,),
            6,
            (0, 2),
            12,
            "Kafka is stopped and started again while no writer writes",
            besides=(*RELAYS, KAFKA_WIRE, POSTGRES, POSTGRES_WIRE, BACKEND, OTHER_KAFKA),
        ),
        # Some of these outlast RELAY_BARRIER_SECONDS and the idle timeout that follows from it.
        Fault("freeze-relay", RELAYS, 2, (0.5, 8), 2, "SIGSTOP of a relay for 0.5 to 8 s"),
        Fault("freeze-service", (SERVICE,), 0.7, (0.5, 4), 1, "SIGSTOP of the service, 0.5 to 4 s"),
        Fault("freeze-endpoint", (ENDPOINT,), 1, (0.5, 4), 1, "SIGSTOP of it for 0.5 to 4 s"),
        Fault("freeze-kafka", (KAFKA,), 0.5, (0.5, 6), 2, "SIGSTOP of Kafka for 0.5 to 6 s"),
        Fault("freeze-kafka-2", (OTHER_KAFKA,), 0.5, (0.5, 6), 2, "SIGSTOP of it for 0.5 to 6 s"),
        Fault("freeze-sqs", (QUEUE,), 0.5, (0.5, 4), 1, "SIGSTOP of it for 0.5 to 4 s"),
        Fault("cut-kafka", (KAFKA_WIRE,), 0.8, (0, 0), 1, "all connections to Kafka cut"),
        Fault("mute-kafka", (KAFKA_WIRE,), 0.6, (0.2, 2), 1, "its answers are held back, then cut"),
        Fault("stall-kafka", (KAFKA_WIRE,), 0.4, (0.5, 6), 1, "its wire holds all back"),
        Fault("slow-kafka", (KAFKA_WIRE,), 0.4, (3, 8), 1, "its wire takes 30 kB/s each way"),
        Fault("cut-postgres", (POSTGRES_WIRE,), 0.8, (0, 0), 1, "all connections to Postgres cut"),
        Fault(
            "mute-postgres",
            (POSTGRES_WIRE,),
            0.6,
            (0.2, 2),
            1,
            "its answers are held back, then cut",
        ),
        Fault("stall-postgres", (POSTGRES_WIRE,), 0.4, (0.5, 6), 1, "its wire holds all back"),
        Fault("slow-postgres", (POSTGRES_WIRE,), 0.4, (3, 8), 1, "its wire takes 30 kB/s each way"),
        Fault("end-backend", (BACKEND,), 1.2, (0, 0), 0, "pg_terminate_backend of a relay's"),
        Fault("old-snapshot", (SNAPSHOT,), 0.4, (20, 30), 0, "a snapshot held for 20 to 30 s"),
    )
}


class Strike(NamedTuple):
    """One fault to come: at so many seconds from the start, for so long."""

    at_seconds: float
    fault: Fault
    target: str
    seconds: float


def plan(seed: int, seconds: float, faults: Sequence[Fault]) -> list[Strike]:
    """The strikes of a campaign in their order, no target under two at once.

    Raises ValueError for no faults at all.
    """

    def free(fault: Fault) -> list[str]:
        if any(free_at[name] > at for name in fault.besides):
            return []
        return [name for name in fault.targets if free_at[name] <= at]

    if not faults:
        raise ValueError("name at least one fault")
    random = Random(seed)
    free_at = dict.fromkeys(TARGETS, 0.0)
    strikes = []
    at = WARM_UP_SECONDS
    while at < seconds:
        able = [fault for fault in faults if free(fault)]
        if able:
            (fault,) = random.choices(able, [fault.weight for fault in able])
            target = random.choice(free(fault))
            length = random.uniform(*fault.seconds)
            strikes.append(Strike(at, fault, target, length))
            for name in (target, *fault.besides):
                free_at[name] = at + length + fault.recovery_seconds
        at += random.uniform(MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
    return strikes
