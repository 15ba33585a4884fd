"""The explorer plays every schedule, each once, and each has the outcome that Postgres gives it."""

from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Any, cast

import pytest

from relay.database import Watched
from relay.log import claim
from tests.schedules import waits, writer
from tests.schedules.actor import Actor
from tests.schedules.campaign import Job, explore
from tests.schedules.explorer import (
    Choice,
    Exhaustive,
    NotRepeatable,
    Repeated,
    Sampled,
    interleavings,
)
from tests.schedules.script import Script
from tests.schedules.scripts import SCRIPTS
from tests.schedules.session import connect
from tests.schedules.stage import Played, Stage
from tests.schedules.waits import Waits

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


def shares(first: str | None = None) -> dict[str, Fraction]:
    every, found, more = Exhaustive(first), dict[str, Fraction](), True
    while more:
        path = play(every.choose)
        found[path] = every.share
        more = every.advance()
    return found


def test_the_shares_of_all_schedules_make_up_one() -> None:
    every = shares()
    assert sum(every.values()) == 1
    assert sum(list(every.values())[:-1]) < 1


def test_the_parts_that_begin_with_each_session_make_up_the_whole() -> None:
    parts = [shares(first) for first in STEPS]
    assert [{path[0] for path in part} for part in parts] == [{name} for name in STEPS]
    assert {path: share for part in parts for path, share in part.items()} == shares()


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


QUEUE = Script(
    "queue",
    "two writers of one group",
    writers=(("lock a; publish a", "commit"), ("lock a; publish a", "commit")),
    readers=(("deliver", "commit"),),
)
# The middle one holds both groups; its commit frees the two others.
FORK = Script(
    "fork",
    "one holds what two others wait for",
    writers=(
        ("lock a; publish a; commit",),
        ("lock a; lock b; publish a", "commit"),
        ("lock b; publish b; commit",),
    ),
    readers=(),
)
RACE = Script(
    "race",
    "two relays, one message",
    writers=(("lock a; publish a; commit",),),
    readers=(("deliver", "commit"), ("deliver", "commit")),
)
WAITING = ["A: lock a; publish a", "B: lock a; publish a (waits)", "A: commit", "B: goes on"]


def replay(server_url: str, script: Script, path: str) -> Played:
    with Stage(server_url, script, "relay") as stage:
        return stage.play(Repeated(path).choose)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explorer that looks at a step again and again from its first moment on."""
    monkeypatch.setattr(waits, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(waits, "LOOK_SECONDS", 0.0)


def slow(statement: str) -> str:
    assert statement.startswith("select ")
    return f"select pg_sleep(0.2), {statement.removeprefix('select ')}"


@pytest.mark.usefixtures("hasty")
def test_a_step_that_is_slow_and_waits_for_no_session_is_waited_for(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PUBLISH", slow(writer.PUBLISH))
    played = replay(server_url, QUEUE, "AABBRR")
    assert not played.waited
    assert played.arrived == ["a:1:A1", "a:2:B1"]


@pytest.mark.usefixtures("hasty")
def test_a_step_that_waits_for_a_session_is_known_at_the_first_look(server_url: str) -> None:
    assert replay(server_url, QUEUE, "ABABRR").steps[:4] == WAITING


def test_a_step_that_is_slow_before_it_waits_for_a_session_is_known(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TURN", slow(writer.TURN))
    assert replay(server_url, QUEUE, "ABABRR").steps[:4] == WAITING


LOOKS = 5


@pytest.mark.usefixtures("hasty")
def test_a_step_that_waits_for_whom_no_schedule_moves_is_waited_for(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, waiting = 0, Waits._waits

    with connect(server_url) as stranger, stranger.transaction():
        stranger.execute(writer.TURN, ["a"])

        def look(self: Waits, actor: Actor) -> bool:
            nonlocal looks
            looks += bool(self._blocking([actor])[0])
            if looks == LOOKS:
                stranger.execute("rollback")
            return waiting(self, actor)

        monkeypatch.setattr(Waits, "_waits", look)
        played = replay(server_url, QUEUE, "AABBRR")
    assert looks >= LOOKS
    assert not played.waited
    assert played.arrived == ["a:1:A1", "a:2:B1"]


@pytest.mark.parametrize(
    ("path", "arrived"),
    [("BACBA", ["a:1:B1", "a:2:A1", "b:1:C1"]), ("BACBC", ["a:1:B1", "b:1:C1", "a:2:A1"])],
)
def test_sessions_that_one_step_frees_go_on_in_either_order(
    server_url: str, path: str, arrived: list[str]
) -> None:
    played = replay(server_url, FORK, path)
    assert played.path == path
    assert played.arrived == arrived


def test_the_order_in_which_freed_sessions_go_on_is_one_of_the_choices(server_url: str) -> None:
    every, paths, more = Exhaustive("B"), list[str](), True
    with Stage(server_url, FORK, "relay") as stage:
        while more:
            paths.append(stage.play(every.choose).path)
            more = every.advance()
    assert paths == ["BABC", "BACBA", "BACBC", "BBAC", "BBCA", "BCABA", "BCABC", "BCBA"]


def test_a_schedule_is_replayed_from_its_name(server_url: str) -> None:
    for script in SCRIPTS[:3]:
        with Stage(server_url, script, "relay") as stage:
            played = stage.play(Sampled(Random(script.name)).choose)
        again = replay(server_url, script, played.path)
        assert again == played


def test_no_promise_of_two_relays_is_broken(server_url: str) -> None:
    tally = explore(server_url, Job(RACE, "relay"))
    assert tally.share == 1
    assert tally.broken == 0


def test_a_relay_that_runs_without_its_cursors_lock_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = "for no key update of c skip locked"
    assert lock in claim.CLAIM
    monkeypatch.setattr(claim, "CLAIM", claim.CLAIM.replace(lock, ""))
    tally = explore(server_url, Job(RACE, "relay"))
    assert tally.share == 1
    assert 0 < tally.broken < tally.schedules
    assert "came 2 times" in tally.examples[0].broken[0]


BEGIN = "begin isolation level read committed read write"


def test_a_relay_that_reads_its_checkpoint_by_a_snapshot_from_before_its_lock_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, begun = Watched.execute, 0

    def in_one_snapshot(self: Watched, query: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal begun
        if query == BEGIN:
            begun += 1
            query = BEGIN.replace("read committed", "repeatable read")
        return cast(Any, execute)(self, query, *arguments, **options)

    monkeypatch.setattr(Watched, "execute", in_one_snapshot)
    # One statement that both waits for the lock and reads would have such a snapshot.
    assert "skip locked" in claim.CLAIM
    monkeypatch.setattr(claim, "CLAIM", claim.CLAIM.replace("skip locked", ""))
    played = replay(server_url, RACE, "ARSRS")
    assert begun > 0
    assert played.broken == ["came 2 times: a:1:A1"]
