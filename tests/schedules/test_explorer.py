"""The explorer plays every schedule, and each once."""

from collections.abc import Mapping
from random import Random

import pytest

from tests.schedules.explorer import (
    Choice,
    Exhaustive,
    NotRepeatable,
    Repeated,
    Sampled,
    interleavings,
)

STEPS = {"A": 3, "B": 2, "R": 4}


def play(choose: Choice, steps: Mapping[str, int] = STEPS) -> str:
    """Sessions that never wait, moved to their end."""
    path, left = "", dict(steps)
    while left:
        name = choose(left)
        path += name
        left[name] -= 1
        left = {name: count for name, count in left.items() if count}
    return path


def everything(steps: Mapping[str, int]) -> list[str]:
    every = Exhaustive()
    paths = [play(every.choose, steps)]
    while every.advance():
        paths.append(play(every.choose, steps))
    return paths


@pytest.mark.parametrize("steps", [{"A": 1}, {"A": 2, "B": 2}, {"A": 2, "B": 2, "C": 2}, STEPS])
def test_it_plays_as_many_schedules_as_the_multinomial_says(steps: dict[str, int]) -> None:
    assert len(everything(steps)) == interleavings(steps)


def test_it_plays_no_schedule_twice() -> None:
    paths = everything(STEPS)
    assert len(set(paths)) == len(paths)


def test_every_schedule_has_every_step_of_each_session() -> None:
    assert {"".join(sorted(path)) for path in everything(STEPS)} == {"AAABBRRRR"}


def test_its_share_grows_from_nothing_to_all() -> None:
    every = Exhaustive()
    shares = []
    more = True
    while more:
        play(every.choose)
        shares.append(every.share)
        more = every.advance()
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert 0.9 < shares[-1] < 1.0


def test_it_refuses_steps_that_lead_elsewhere_the_second_time() -> None:
    every = Exhaustive()
    play(every.choose, {"A": 2, "B": 1})
    every.advance()
    with pytest.raises(NotRepeatable, match="after A"):
        play(every.choose, {"A": 1, "B": 2})


def test_a_sample_of_one_seed_is_the_same_each_time() -> None:
    def sample() -> list[str]:
        chance = Sampled(Random(7))
        return [play(chance.choose) for _ in range(20)]

    assert sample() == sample()
    assert len(set(sample())) > 15


def test_a_schedule_can_be_repeated() -> None:
    assert play(Repeated("RABABARRR").choose) == "RABABARRR"


def test_a_repeated_schedule_goes_on_in_order_where_it_is_left_open() -> None:
    assert play(Repeated("RB").choose) == "RBAAABRRR"


def test_a_session_that_can_not_step_is_not_repeated() -> None:
    with pytest.raises(NotRepeatable, match="A can't step here"):
        play(Repeated("AAAA").choose)
