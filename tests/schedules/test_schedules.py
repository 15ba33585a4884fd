"""A seeded sample of what `python -m tests.schedules` plays in full."""

import pytest

from relay.log import reading
from tests.schedules.campaign import Job, Sample, explore
from tests.schedules.explorer import Exhaustive, Repeated, interleavings
from tests.schedules.players import run
from tests.schedules.readers import NAIVE, PROVEN, kinds
from tests.schedules.script import Script
from tests.schedules.scripts import SCRIPTS
from tests.schedules.stage import Played, SessionFailed, Stage

pytestmark = pytest.mark.long

SEED = 20_261_122
EACH = 15
EACH_PUSHED = 4


PROOFS = [(script, kind) for script in SCRIPTS for kind in kinds(script) if kind in PROVEN]


@pytest.mark.parametrize(
    ("script", "kind"), PROOFS, ids=[f"{script.name}-{kind}" for script, kind in PROOFS]
)
def test_no_interleaving_breaks_a_promise(server_url: str, script: Script, kind: str) -> None:
    each = EACH_PUSHED if "push" in kind else EACH
    tally = explore(server_url, Job(script, kind, Sample(each, SEED)))
    assert [(one.path, one.broken) for one in tally.examples] == []
    assert tally.broken == 0
    assert tally.deliveries >= tally.schedules > each // 2


CATCHES = [(script, kind) for script in SCRIPTS for kind in script.catches]
# One each: the whole of it is for the long run.
SMALLEST = {
    kind: min(
        (script for script, caught in CATCHES if caught == kind),
        key=lambda script: interleavings(script.lengths),
    )
    for kind in NAIVE
}


@pytest.mark.parametrize("kind", NAIVE)
def test_a_naive_reader_is_caught(server_url: str, kind: str) -> None:
    tally = explore(server_url, Job(SMALLEST[kind], kind, Sample(40, SEED)))
    assert tally.broken > 0


def test_a_push_run_that_does_not_look_at_blocked_groups_is_caught(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseeing = reading.READ_RANGE.replace("then 2 else 0", "then 0 else 0")
    assert unseeing != reading.READ_RANGE
    monkeypatch.setattr(reading, "READ_RANGE", unseeing)
    # What it sends out of order would be a second head of its group.
    with pytest.raises(SessionFailed, match="delivery_has_one_head"):
        replay(server_url, "same_group", "AAARRRRBBB", "push")


def replay(server_url: str, name: str, path: str, kind: str = "relay") -> Played:
    (script,) = (script for script in SCRIPTS if script.name == name)
    with Stage(server_url, script, kind) as stage:
        return stage.play(Repeated(path).choose)


LATE_COMMIT = "ABBRRARR"


def test_a_reader_by_id_loses_the_late_commit(server_url: str) -> None:
    played = replay(server_url, "late_commit", LATE_COMMIT, "by id")
    assert played.broken == ["lost: a:1:A1"]


def test_the_relay_delivers_the_late_commit_last(server_url: str) -> None:
    played = replay(server_url, "late_commit", LATE_COMMIT)
    assert played.arrived == ["b:1:B1", "a:1:A1"]


EARLY_XID = "ABBAARRRR"


def test_a_reader_by_xid_inverts_a_group(server_url: str) -> None:
    played = replay(server_url, "early_xid", EARLY_XID, "by xid")
    assert played.broken == ["out of order: a:1:B1 after a:2:A1"]


def test_the_relay_keeps_the_order_of_the_rows_lock(server_url: str) -> None:
    played = replay(server_url, "early_xid", EARLY_XID)
    assert played.arrived == ["a:1:B1", "a:2:A1"]


def test_a_session_that_waits_for_a_lock_goes_on_when_it_has_it(server_url: str) -> None:
    played = replay(server_url, "early_xid", "BAABAR")
    assert played.steps[2:4] == ["A: lock a; publish a (waits)", "B: commit"]
    assert played.waited
    assert played.broken == []


def test_a_crash_repeats_what_was_in_flight(server_url: str) -> None:
    played = replay(server_url, "crash", "AARRRR")
    assert played.arrived[:2] == ["a:1:A1", "a:1:A1"]
    assert played.repeats == 1
    assert played.broken == []


def test_two_players_count_what_one_counts(server_url: str) -> None:
    (script,) = (script for script in SCRIPTS if script.name == "late_commit")
    job = Job(script, "relay")
    heard = list[int]()
    (of_two,) = run([job], lambda _, tally, __: heard.append(tally.schedules))
    assert of_two == explore(server_url, job)
    assert of_two.share == 1
    assert heard[-1] == of_two.schedules


def test_a_script_whose_sessions_never_wait_has_as_many_schedules_as_the_multinomial_says(
    server_url: str,
) -> None:
    script = Script(
        "alone",
        "three groups",
        writers=(
            ("lock a; publish a", "commit"),
            ("lock b; publish b", "commit"),
            ("lock c; publish c; rollback",),
        ),
        readers=(),
    )
    every = Exhaustive()
    paths = []
    with Stage(server_url, script, "relay") as stage:
        more = True
        while more:
            paths.append(stage.play(every.choose).path)
            more = every.advance()
    assert len(set(paths)) == len(paths) == interleavings({"A": 2, "B": 2, "C": 1})
