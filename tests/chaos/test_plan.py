"""The plan of a campaign: told by its seed, and hard enough."""

from itertools import pairwise

import pytest

from tests.chaos.plan import FAULTS, TARGETS, plan

ALL = tuple(FAULTS.values())


def test_a_seed_tells_the_plan() -> None:
    assert plan(7, 600, ALL) == plan(7, 600, ALL)
    assert plan(7, 600, ALL) != plan(8, 600, ALL)


@pytest.mark.parametrize("seed", range(1, 5))
def test_ten_minutes_hold_200_kills_and_every_fault(seed: int) -> None:
    strikes = plan(seed, 600, ALL)
    assert sum(strike.fault.kills for strike in strikes) >= 200
    assert {strike.fault for strike in strikes} == set(ALL)


def test_no_target_is_under_two_faults_at_once() -> None:
    strikes = plan(3, 600, ALL)
    for target in TARGETS:
        own = [strike for strike in strikes if target in (strike.target, *strike.fault.besides)]
        for former, latter in pairwise(own):
            assert latter.at_seconds >= former.at_seconds + former.seconds


def test_only_the_faults_asked_for_strike() -> None:
    asked = (FAULTS["kill-kafka"], FAULTS["cut-postgres"])
    assert {strike.fault for strike in plan(1, 100, asked)} == set(asked)


def test_no_fault_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one fault"):
        plan(1, 600, ())
