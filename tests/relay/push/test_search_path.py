"""Runs to endpoints call what they mean, whatever path their role or database brings.

The relay is among the shadows of tests.shadows, and keeps what it promises elsewhere.
"""

from collections.abc import Iterator

import psycopg
import pytest

from relay.push.requests import sending
from tests.conftest import PostgresServer
from tests.eventually import eventually
from tests.pooled import WAYS, by_way
from tests.promises import Promise, promises
from tests.receiver import Receiver
from tests.relay.push import test_dead_letters, test_replay, test_sealed
from tests.relay.push.conftest import EMPTY
from tests.relay.push.stage import PushRelay, PushStage
from tests.relay.push.state import test_breaker, test_probes
from tests.relay.push.state.test_late_outcomes import in_flight
from tests.shadows import among_shadows, shadowed, sprung

PROMISES = promises(
    *(test_breaker, test_dead_letters, test_probes, test_replay, test_sealed),
    of=("stage", "relay"),
)


@pytest.fixture(scope="module")
def push_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    with shadowed(postgres_server) as url:
        yield url


@pytest.fixture
def stage(push_database_url: str, patience: None) -> Iterator[PushStage]:
    """Out of the shadows; nothing of them may have been called in the end."""
    with Receiver() as receiver, psycopg.connect(push_database_url, autocommit=True) as db:
        for statement in EMPTY:
            db.execute(statement)
        yield PushStage(push_database_url, db, receiver)
        assert sprung(db) is None


@pytest.fixture(params=WAYS)
def relay(stage: PushStage, request: pytest.FixtureRequest) -> Iterator[PushRelay]:
    with (
        among_shadows(stage.database_url, "outbox_relay") as url,
        by_way(request.param, url) as way,
        PushRelay(way) as relay,
    ):
        yield relay


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_promise_holds(stage: PushStage, relay: PushRelay, promise: Promise) -> None:
    promise(stage, relay)


def test_several_shards_and_a_rate(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(shards=3, rate_per_second=100_000)
    keys = [f"{group}:{n}" for group in "abcdef" for n in range(3)]
    stage.publish(*keys)
    relay.drain()
    assert sorted(stage.keys()) == keys


def test_what_outlives_its_run_is_written_down(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.2)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.05)
    in_flight(stage, relay).release()

    def acked() -> None:
        assert stage.rows()[0] == ("a:1", 1, "acked")

    eventually(acked)
    relay.drain()
    assert stage.keys() == ["a:1", "a:2"]
