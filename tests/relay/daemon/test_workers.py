"""Which cursors are handed out on news, and how long one that left the others goes alone."""

import threading
import time
from collections import Counter

import pytest
from msgspec.structs import replace

from relay.daemon import workers as module
from relay.daemon.sessions import Sessions
from relay.daemon.workers import Workers
from relay.log.cursor import Cursor, SinkSettings, Target
from relay.log.filters import Filter
from relay.monitoring.telemetry import Telemetry
from tests.relay.operating import settings

CURSOR = Cursor(1, 7, "orders", "kafka", 0, 3, None, 1, "", None, None, SinkSettings())
URGENT = replace(CURSOR, id=2, priority=1)
ORDERS = (b"orders", b"paid")


@pytest.fixture
def handed_out(monkeypatch: pytest.MonkeyPatch) -> list[list[Cursor]]:
    """What would go to workers, which are not there."""
    handed: list[list[Cursor]] = []
    monkeypatch.setattr(Workers, "_hand_out", lambda _, found, *__: handed.append(list(found)))
    return handed


@pytest.fixture
def workers() -> Workers:
    operating, telemetry = settings("postgresql://h/d"), Telemetry()
    sessions = Sessions(operating, telemetry, threading.Event())
    return Workers(operating, telemetry, sessions, lambda: None)


def test_those_that_want_what_is_new_are_handed_out(
    workers: Workers, handed_out: list[list[Cursor]]
) -> None:
    other = replace(CURSOR, id=3, subscription_id=8)
    workers._filters = {7: Filter(None, None), 8: Filter(frozenset(["parcels"]), None)}
    workers.offer([CURSOR, URGENT, other])
    handed_out.clear()
    workers.follow({3: {ORDERS}})
    workers.follow({})
    workers.follow({3: {(b"parcels", b"sent")}})
    workers.follow({1: {(b"outbox.events", b"told")}})
    # Of too many it is not known which they are.
    workers.follow({3: None})
    assert handed_out == [[CURSOR], [CURSOR, other], [], [CURSOR, other]]


def test_a_subscription_that_is_not_known_yet_may_want_anything(
    workers: Workers, handed_out: list[list[Cursor]]
) -> None:
    workers.offer([CURSOR])
    workers.follow({3: {ORDERS}})
    assert handed_out == [[CURSOR], [CURSOR]]


def test_what_follows_the_log_and_wants_nothing_of_it_moves_now_and_then(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[tuple[str, list[Cursor]]] = []

    class Shared:
        def __init__(self, *_: object, **__: object) -> None: ...

        def offer(self, cursors: list[Cursor]) -> None:
            offered.append(("now", cursors))

        def offer_to_move(self, cursors: list[Cursor]) -> None:
            offered.append(("to move", cursors))

    monkeypatch.setattr(module, "SharedWorker", Shared)
    workers._sharing = Counter({("kafka", ""): 2})
    workers._filters = {7: Filter(None, None)}
    for _ in range(3):
        workers.offer([CURSOR])
    assert offered == [("now", [CURSOR]), ("to move", [CURSOR])]


def test_cursors_of_two_clusters_share_no_worker(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[tuple[Target, list[Cursor]]] = []

    class Shared:
        def __init__(self, target: Target, **_: object) -> None:
            self.target = target

        def offer(self, cursors: list[Cursor]) -> None:
            offered.append((self.target, cursors))

    monkeypatch.setattr(module, "SharedWorker", Shared)
    cluster = '{"brokers": "kafka:9092"}'
    other = replace(
        CURSOR, id=3, subscription_id=8, sink_settings=SinkSettings(topic="t", cluster=cluster)
    )
    workers._sharing = Counter({("kafka", ""): 2, ("kafka", cluster): 2})
    workers._filters = {7: Filter(None, None), 8: Filter(None, None)}
    workers.offer([CURSOR, other])
    assert offered == [(("kafka", ""), [CURSOR]), (("kafka", cluster), [other])]


def test_what_was_known_by_former_settings_is_forgotten(
    workers: Workers, handed_out: list[list[Cursor]]
) -> None:
    workers.offer([CURSOR, URGENT])
    changed = replace(CURSOR, sink_settings=SinkSettings(topic_prefix="later."))
    workers.offer([changed])
    workers.follow({1: {ORDERS}, 3: {ORDERS}})
    assert handed_out[-1] == [changed]


@pytest.mark.parametrize(
    "changed", [{"sink_settings": SinkSettings("exactly_once")}, {"id": 3, "channel": "parcels"}]
)
def test_an_exactly_once_cursor_and_one_of_a_channel_are_a_probes_alone(
    workers: Workers, handed_out: list[list[Cursor]], changed: dict[str, object]
) -> None:
    known = [] if "sink_settings" in changed else [CURSOR]
    workers.offer([CURSOR])
    workers.offer([replace(CURSOR, **changed)])
    workers.follow({3: {ORDERS}})
    assert handed_out[-1] == known


def test_who_leaves_again_soon_stays_away_twice_as_long(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    for _ in range(4):
        workers._leave(7)
        # Once more, by an offer that was under way.
        workers._leave(7)
        waits.append(workers._simple_seconds[7])
        workers._alone.discard(7)
        workers._joined_at[7] = time.monotonic()
    assert waits == [module.SIMPLE_SECONDS * factor for factor in (1, 2, 4, 8)]
    workers._joined_at[7] -= module.SOON_SECONDS
    workers._leave(7)
    assert workers._simple_seconds[7] == module.SIMPLE_SECONDS


def test_one_that_a_probe_has_kept_alone_may_join_and_leave(workers: Workers) -> None:
    workers._joined_at[7] = time.monotonic()
    workers._leave(7)
    assert 7 in workers._alone


def test_one_that_has_just_come_goes_alone_first(workers: Workers) -> None:
    workers._sharing = Counter({("kafka", ""): 2})
    workers._filters = {7: Filter(None, None)}
    assert not workers._goes_alone(CURSOR)
    assert workers._goes_alone(replace(CURSOR, id=9, subscription_id=8))
    # By the next look at the subscriptions it is known, and still has to show that it is simple.
    workers._filters[8] = Filter(None, None)
    assert workers._goes_alone(replace(CURSOR, id=9, subscription_id=8))
