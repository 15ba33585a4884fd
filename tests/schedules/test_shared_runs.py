"""Runs of several subscriptions go through the explorer step by step, and each promise is each
subscription's own."""

import msgspec
import pytest

from relay.kafka import runs
from relay.log import reading, shared
from relay.log.checkpoint import Next, following
from relay.log.claim import Claimed
from relay.log.filters import Filter, Part, Sorter, Union, union
from relay.log.message import Row
from relay.log.reading import Reading
from relay.log.sink import Outcome
from tests.schedules.campaign import Job, Sample, explore
from tests.schedules.explorer import Repeated
from tests.schedules.readers import SHARED
from tests.schedules.scripts import SCRIPTS
from tests.schedules.stage import Played, Stage

SCRIPT = {script.name: script for script in SCRIPTS if script.is_shared}
SEED = 20_261_129


def replay(server_url: str, name: str, path: str, kind: str = "shared") -> Played:
    with Stage(server_url, SCRIPT[name], kind) as stage:
        return stage.play(Repeated(path).choose)


@pytest.mark.parametrize("kind", SHARED)
def test_each_subscription_gets_what_it_wants_from_one_run(server_url: str, kind: str) -> None:
    played = replay(server_url, "shared_two", "AABBRR", kind)
    assert sorted(played.arrived) == ["s a:1:A1", "s b:2:B2", "t a:2:A2", "t b:1:B1"]
    assert played.broken == []


def test_a_crash_between_delivery_and_checkpoints_repeats_the_run_to_each(server_url: str) -> None:
    played = replay(server_url, "shared_crash_after_delivery", "AARRBBRR")
    assert played.steps[2:4] == ["R: deliver", "R: crash"]
    assert [played.arrived.count(one) for one in ("s a:1:A1", "t a:2:A2")] == [2, 2]
    assert played.broken == []


@pytest.mark.parametrize("kind", SHARED)
def test_a_crash_with_the_next_run_claimed_repeats_nothing(server_url: str, kind: str) -> None:
    played = replay(server_url, "shared_crash_with_a_claim_ahead", "AARRRRRBB", kind)
    assert played.steps[2:5] == ["R: deliver", "R: commit", "R: crash"]
    assert played.repeats == 0
    assert played.broken == []


def test_what_is_claimed_ahead_is_no_other_relays(server_url: str) -> None:
    played = replay(server_url, "shared_two_relays", "AARRSRRB")
    # Its commit is left out: it has nothing to run.
    assert played.steps[3:6] == ["R: commit", "S: deliver", "R: deliver"]
    assert "S: commit" not in played.steps
    assert played.broken == []


def test_a_member_that_stopped_goes_alone_and_joins_the_others_again(server_url: str) -> None:
    played = replay(server_url, "shared_and_left", "AARRLLBRR")
    assert played.steps[4:] == [
        "L: deliver",
        "L: commit",
        "B: lock a; publish a; commit",
        "R: deliver",
        "R: commit",
    ]
    each = ["a:1:A1", "a:2:A2", "a:3:A3", "a:4:B1"]
    assert played.arrived == [f"{name} {key}" for name in "st" for key in each]
    assert played.broken == []


def promises_broken(server_url: str, name: str) -> set[str]:
    """What a few schedules before the relay's shared runs to Kafka break."""
    tally = explore(server_url, Job(SCRIPT[name], "shared", Sample(3, SEED)))
    assert tally.broken > 0
    return {promise.partition(":")[0] for played in tally.examples for promise in played.broken}


def test_a_run_that_reads_by_too_narrow_a_filter_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(filters: list[Filter]) -> Union:
        every = union(filters)
        return msgspec.structs.replace(every, channels=every.channels[1:])

    monkeypatch.setattr(reading, "union", narrow)
    assert promises_broken(server_url, "shared_two") == {"t lost"}


def test_a_run_that_hands_every_row_to_everyone_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careless(Sorter):
        def sort(self, rows: list[Row]) -> dict[Part, list[Row]]:
            return dict.fromkeys(self._parts, rows)

    monkeypatch.setattr(shared, "Sorter", Careless)
    assert promises_broken(server_url, "shared_two") == {"s not for it", "t not for it"}


def test_a_checkpoint_that_passes_what_its_cursor_stopped_at_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heedless(reading: Reading, claimed: Claimed, outcome: Outcome) -> Next | None:
        return following(reading, claimed, msgspec.structs.replace(outcome, stopped=None))

    monkeypatch.setattr(runs, "following", heedless)
    assert promises_broken(server_url, "shared_and_left") == {"t lost"}
