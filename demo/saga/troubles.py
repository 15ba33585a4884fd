"""Who is killed when, and for how long it stays away: drawn, all from one seed."""

from random import Random

import msgspec

from demo import plan
from demo.saga.places import SERVICES

# Each comes back at once.
VICTIMS = {
    "relay-order": 3,
    "relay-inventory": 2,
    "relay-payment": 2,
    "relay-fulfilment": 2,
    "order": 2,
    "inventory": 1,
    "fulfilment": 1,
    "provider": 2,
}
# One service is away for so long, once such a part of the orders has ended.
OUTAGE = ("payment",)
OUTAGE_SECONDS, OUTAGE_AFTER = 10.0, 0.25
# All four are away for longer than any step may take: every deadline passes while nobody is there.
BLACKOUT = SERVICES
BLACKOUT_SECONDS, BLACKOUT_AFTER = 7.0, 0.65

ALL_KILLS = sum(VICTIMS.values()) + len(OUTAGE) + len(BLACKOUT)


class Trouble(msgspec.Struct, frozen=True, order=True):
    """SIGKILL for these processes once so many orders have ended."""

    after_orders: int
    victims: tuple[str, ...]
    away_seconds: float = 0.0


def troubles(random: Random, orders: int, kills: int) -> list[Trouble]:
    """With so many kills in all; with less than all of them nobody stays away."""
    singles = [
        Trouble(kill.after_orders, (kill.victim,)) for kill in plan.kills(random, orders, VICTIMS)
    ]
    if kills < ALL_KILLS:
        return sorted(random.sample(singles, min(kills, len(singles))))
    outage = Trouble(int(orders * OUTAGE_AFTER), OUTAGE, OUTAGE_SECONDS)
    blackout = Trouble(int(orders * BLACKOUT_AFTER), BLACKOUT, BLACKOUT_SECONDS)
    return sorted([*singles, outage, blackout])
