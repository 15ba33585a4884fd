"""How soon deliveries went on after a fault that promises it."""

from collections.abc import Mapping, Sequence

from tests.chaos.pauses import Injected, alone, seconds_until_next
from tests.chaos.plan import FAULTS


def late_returns(
    injected: Sequence[Injected], beats: Mapping[str, Sequence[Sequence[float]]], until: float
) -> list[str]:
    """A sentence for each subscription that stood still for too long. `beats` as in Played."""
    faults = []
    for one in injected:
        for subscription, groups in beats.items():
            seconds = max(seconds_until_next(group, one.ended, until) for group in groups or [[]])
            print("RET", one.fault, subscription, round(seconds, 2), round(one.ended - one.began, 2), alone(one, injected, one.ended - one.began + seconds))
    return faults
