"""Runs have their turns: who waits is served in the end, and no owner has all meanwhile."""

from concurrent.futures import Future
from functools import partial

from relay.push.fair_turns import Owner, Turns


class Asked:
    """Asks for turns; `granted` are the names of those that have or had one, in that order."""

    def __init__(self, turns: Turns) -> None:
        self.granted: list[str] = []
        self.refused: list[str] = []
        self._turns = turns

    def ask(self, owner: Owner, *names: str) -> None:
        for name in names:
            self._turns.ask(owner).add_done_callback(partial(self._note, name))

    def _note(self, name: str, turn: "Future[bool]") -> None:
        (self.granted if turn.result() else self.refused).append(name)


def test_one_owner_alone_has_all_there_are() -> None:
    asked = Asked(turns := Turns(3))
    asked.ask("a", "a1", "a2", "a3", "a4")
    assert asked.granted == ["a1", "a2", "a3"]
    assert turns.are_awaited


def test_the_next_is_the_owner_that_has_the_fewest() -> None:
    asked = Asked(turns := Turns(3))
    asked.ask("a", "a1", "a2", "a3", "a4", "a5", "a6")
    asked.ask(None, "own1", "own2")
    turns.end("a")
    assert asked.granted[3:] == ["own1"]
    turns.end("a")
    turns.end(None)
    # Of equals it was `a` that asked first.
    assert asked.granted[4:] == ["a4", "own2"]


def test_equals_take_turns() -> None:
    asked = Asked(turns := Turns(1))
    asked.ask("a", "a1", "a2", "a3")
    asked.ask("b", "b1", "b2")
    asked.ask("c", "c1")
    for owner in "abcab":
        turns.end(owner)
    assert asked.granted == ["a1", "a2", "b1", "c1", "a3", "b2"]


def test_an_owners_subscriptions_are_served_in_their_order() -> None:
    asked = Asked(turns := Turns(1))
    asked.ask("a", "a1", "a2", "a3", "a4")
    for _ in range(3):
        turns.end("a")
    assert asked.granted == ["a1", "a2", "a3", "a4"]


def test_a_turn_that_is_not_waited_for_is_there_for_the_next() -> None:
    asked = Asked(turns := Turns(1))
    for name in ("one", "two"):
        asked.ask("a", name)
        turns.end("a")
    assert (asked.granted, turns.are_awaited) == (["one", "two"], False)


def test_a_key_has_no_more_than_its_part_and_the_operator_has_all() -> None:
    asked = Asked(turns := Turns(4, of_a_key=2))
    asked.ask("a", "a1", "a2", "a3")
    asked.ask(None, "own1", "own2", "own3")
    assert asked.granted == ["a1", "a2", "own1", "own2"]
    turns.end(None)
    turns.end(None)
    # What is left is nobody's who waits.
    assert asked.granted[4:] == ["own3"]
    turns.end("a")
    assert asked.granted[5:] == ["a3"]


def test_who_rests_leaves_its_turn_to_another_and_gets_one_again() -> None:
    asked = Asked(turns := Turns(1))
    with turns.turn("a"):
        with turns.rest("a"):
            asked.ask("b", "b1")
            assert asked.granted == ["b1"]
            turns.end("b")
        asked.ask("b", "b2")
        assert asked.granted == ["b1"]
    assert asked.granted == ["b1", "b2"]


def test_who_has_rested_goes_on_before_others_of_its_owner_begin() -> None:
    asked = Asked(turns := Turns(1))
    asked.ask("a", "a1", "a2", "a3")
    turns.ask("a", first=True).add_done_callback(lambda _: asked.granted.append("rested"))
    for _ in range(2):
        turns.end("a")
    assert asked.granted == ["a1", "rested", "a2"]


def test_when_it_closes_who_rests_goes_on_without_a_turn() -> None:
    asked = Asked(turns := Turns(1))
    with turns.turn("a"), turns.rest("a"):
        asked.ask("a", "a1", "a2")
        turns.close()
    turns.end("a")
    assert (asked.granted, asked.refused) == (["a1"], ["a2"])


def test_when_it_closes_no_owner_waits_any_more() -> None:
    asked = Asked(turns := Turns(1))
    asked.ask("a", "a1", "a2")
    asked.ask("b", "b1")
    turns.close()
    asked.ask("b", "b2")
    turns.end("a")
    assert (asked.granted, asked.refused) == (["a1"], ["a2", "b1", "b2"])
    assert not turns.are_awaited
