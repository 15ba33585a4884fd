"""What `make bench-peers` makes of its measurements."""

import io

import pytest
from rich.console import Console

from bench.peers import report
from bench.peers.environment import PEERS, versions
from bench.peers.topic import reached
from bench.peers.turn import RATE, Drain, Latency, Measured, trickled

MILLISECOND = 1_000_000


def measured(
    *, rate: float = 1000, latency: Latency | None = None, memory: int | None = None
) -> Measured:
    drain = Drain(
        messages=1000,
        seconds=1000 / rate,
        relay_seconds=0.01,
        postgres_seconds=0.02,
        wal_bytes=5000,
    )
    return Measured(drains=[drain], held=[drain], latency=latency, peak_memory_bytes=memory)


def test_a_drain_ends_when_the_last_first_arrival_can_be_read_not_with_its_repeats() -> None:
    seen = [(1.0, {0: 0, 1: 0}), (2.0, {0: 3, 1: 0}), (3.0, {0: 3, 1: 2}), (4.0, {0: 9, 1: 2})]
    assert reached(seen, {1: (0, 0), 2: (0, 2), 3: (1, 1)}) == 3.0


def test_latency_leaves_the_warm_up_out() -> None:
    committed = {n: n * MILLISECOND for n in range(10)}
    slow_at_first = {n: at + (100 if n < 5 else 2) * MILLISECOND for n, at in committed.items()}
    latency = trickled(committed, slow_at_first, first=5)
    assert latency.milliseconds == [2.0] * 5


def test_messages_that_never_came_lower_the_rate_that_arrived() -> None:
    committed = {n: n * MILLISECOND for n in range(1000)}
    arrived = {n: at + MILLISECOND for n, at in committed.items() if n % 2 == 0}
    latency = trickled(committed, arrived, first=0)
    assert latency.written_rate == pytest.approx(1000, rel=0.01)
    assert latency.arrived_rate == pytest.approx(500, rel=0.01)


def test_a_latency_of_nothing_is_a_failure() -> None:
    with pytest.raises(RuntimeError, match="only 0 of 10 messages"):
        trickled(dict.fromkeys(range(10), 0), {}, first=0)


def test_who_does_not_keep_up_is_named_with_the_rate_it_reached() -> None:
    results = {
        "slow": measured(latency=Latency([1.0, 2.0], RATE, 340)),
        "fast": measured(latency=Latency([1.0, 2.0], RATE, RATE)),
    }
    (sentence,) = report.short_of_rate(results)
    assert sentence.startswith("slow does not keep up")
    assert "340/s" in sentence


def test_writers_that_were_too_slow_are_not_held_against_the_candidate() -> None:
    results = {"relay": measured(latency=Latency([1.0, 2.0], 400, 400))}
    (sentence,) = report.short_of_rate(results)
    assert "its writers reached 400/s" in sentence


def test_a_peer_that_is_ahead_is_named_with_its_column() -> None:
    results: dict[str, Measured | str] = {
        "relay": measured(memory=70 << 20),
        "peer": measured(rate=2000, memory=40 << 20),
        "gone": "RuntimeError: no",
    }
    assert report.ahead(results, "relay", ["peer", "gone"]) == [
        "peer is ahead in drain /s: 2,000 against 1,000 of relay.",
        "peer is ahead in held /s: 2,000 against 1,000 of relay.",
        "peer is ahead in peak MiB: 40 against 70 of relay.",
    ]


def test_a_difference_within_noise_puts_no_candidate_ahead() -> None:
    results = {"relay": measured(rate=1000), "peer": measured(rate=1040)}
    assert report.ahead(results, "relay", ["peer"]) == []


def test_a_candidate_that_failed_keeps_its_row() -> None:
    console = Console(width=150, file=io.StringIO(), record=True)
    console.print(report.table({"relay": measured(), "peer": "RuntimeError: no"}))
    row = next(line for line in console.export_text().splitlines() if "peer" in line)
    assert "failed" in row


def test_every_peer_is_pinned() -> None:
    names = [peer.partition("[")[0] for peer in PEERS]
    assert len(versions(*names)) == len(PEERS)
