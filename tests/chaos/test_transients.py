"""Which subscriptions come and go: told by the seed, and enough of each."""

from collections import Counter

import pytest

from tests.chaos.transients import (
    DELETE,
    HTTP,
    KAFKA,
    MAKE,
    PAUSE,
    RESUME,
    TOGETHER,
    Step,
    Transient,
    made_in,
    plan,
)


def test_a_seed_tells_the_steps() -> None:
    assert plan(7, 600) == plan(7, 600)
    assert plan(7, 600) != plan(8, 600)


def test_twenty_come_before_the_first_fault_and_there_are_never_more() -> None:
    steps = plan(3, 600)
    assert [step.deed for step in steps if step.at_seconds < 3][:TOGETHER] == [MAKE] * TOGETHER
    there: set[Transient] = set()
    for step in steps:
        if step.deed == MAKE:
            there.add(step.transient)
        elif step.deed == DELETE:
            there.remove(step.transient)
        assert len(there) <= TOGETHER
    assert len(there) > TOGETHER / 2


def test_one_is_paused_while_active_and_resumed_while_paused() -> None:
    paused: dict[Transient, bool] = {}
    for _, deed, one in plan(5, 600):
        assert paused.get(one) == {MAKE: None, PAUSE: False, RESUME: True}.get(
            deed, paused.get(one)
        )
        if deed == DELETE:
            del paused[one]
        else:
            paused[one] = deed == PAUSE


@pytest.mark.parametrize("seed", range(1, 5))
def test_ten_minutes_hold_plenty_of_each_deed_and_kind_and_a_bounded_number_of_topics(
    seed: int,
) -> None:
    steps = plan(seed, 600)
    deeds = Counter(step.deed for step in steps)
    kinds = Counter(one.kind for one in made_in(steps))
    assert min(deeds.values()) >= 30
    assert min(kinds[KAFKA], kinds[HTTP]) >= 10
    assert sum(len(one.topics) for one in made_in(steps)) <= 250


def test_each_has_topics_of_its_own_for_what_it_wants() -> None:
    one = Transient("t1", KAFKA, ("a", "b"), None)
    assert one.topics == {"t1.a": "a", "t1.b": "b"}
    assert Step(0, MAKE, one).transient.wants("a", "any")
    assert not one.wants("c", "any")
    assert not one._replace(types=("x",)).wants("a", "y")
