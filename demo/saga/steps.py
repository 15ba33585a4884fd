"""The saga in one table: what is done, how it is undone, and how long an answer may take."""

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One step: the service that does it, by which command, and by which command it undoes it.

    `timeout_seconds`: how long an answer may take, to either command.
    """

    name: str
    service: str
    action: str
    compensation: str | None
    timeout_seconds: float


STEPS = (
    #     step        service       action     compensation  timeout
    Step("stock", "inventory", "reserve", "release", 5),
    Step("money", "payment", "charge", "refund", 6),
    Step("parcel", "fulfilment", "request", "withdraw", 5),
    Step("shipment", "fulfilment", "ship", None, 5),
)

# Before it the saga may turn back at any moment. Whoever has sent this step's command only goes
# on: it can't be refused or undone, and is sent again until it is answered.
PIVOT = "shipment"

# What gets no answer is sent again, and the wait for that grows, up to so many times the timeout.
MAX_PATIENCE = 4

# A compensation that failed is tried again so much later, a longer time with each attempt.
FIRST_RETRY_SECONDS = 0.3
MAX_RETRY_SECONDS = 2.0


def position(name: str) -> int:
    """Where a step stands in the table. Raises KeyError."""
    return _POSITIONS[name]


def answer_seconds(step: Step, attempt: int) -> float:
    """How long to wait for the answer to this attempt, counted from 1."""
    return step.timeout_seconds * min(attempt, MAX_PATIENCE)


def retry_seconds(attempt: int) -> float:
    """How long to wait after the failure of this attempt, counted from 1."""
    return float(min(FIRST_RETRY_SECONDS * 2 ** (attempt - 1), MAX_RETRY_SECONDS))


_POSITIONS = {step.name: index for index, step in enumerate(STEPS)}
