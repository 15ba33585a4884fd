"""What becomes of messages that are not acknowledged in a shared run is written while others wait:
of each cursor it is little, and of an owner, however many subscriptions it has made.
"""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from relay.log.run import Ran
from relay.push import shared_runs
from relay.push.requests import sending
from relay.push.shared_runs import MAX_WINDOW
from relay.push.state.breaker import JUDGE
from tests.receiver import OK, Reaction, Received, hang, respond
from tests.relay.push.stage import LATER, PushRelay, PushStage, inversions
from tests.relay.push.together import Together

MANY = 300
ROWS_OF = """
select s.name, count(*) from outbox.delivery d
join outbox.cursor c on c.id = d.cursor_id join outbox.subscription s on s.id = c.subscription_id
group by s.name
"""


@pytest.fixture
def together(relay: PushRelay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Together]:
    """All answer at once but those that hang, which are waited for a moment."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.5)
    shared = Together(relay)
    yield shared
    shared.connection.close()


def rows_of(stage: PushStage) -> dict[str, int]:
    """How many rows each subscription has."""
    return dict(stage.db.execute(ROWS_OF).fetchall())


def alone(ran: dict[str, Ran]) -> set[str]:
    return {name for name, one in ran.items() if one.alone}


@pytest.mark.long
@pytest.mark.parametrize("group", ["", "one", None], ids=["no group", "one group", "many groups"])
@pytest.mark.parametrize("answer", [hang, respond(500)], ids=["hangs", "fails"])
def test_one_that_takes_nothing_leaves_its_backlog_in_the_log(
    stage: PushStage, together: Together, answer: Reaction, group: str | None
) -> None:
    stage.receiver.paths["/bad"] = answer
    stage.subscribe("bad", types=["flood"], retry=LATER, concurrency=1000)
    for name in ("good", "better"):
        stage.subscribe(name, types=["order.paid"])
    keys = [f"{f'g{n}' if group is None else group}:{n}" for n in range(MANY)]
    stage.publish(*keys, type="flood")
    stage.publish("x:1")
    ran = together.run()
    assert (stage.keys("good"), stage.keys("better")) == (["x:1"], ["x:1"])
    assert alone(ran) == {"bad"}
    assert 0 < rows_of(stage).pop("bad") <= MAX_WINDOW
    # Alone it has what it may have.
    together.relay.round()
    assert rows_of(stage).pop("bad") > MAX_WINDOW


def test_all_of_one_key_that_hang_have_no_more_together(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_runs, "KEY_WINDOW", 60)
    for name in (names := [f"bad{n}" for n in range(20)]):
        stage.receiver.paths[f"/{name}"] = hang
        stage.subscribe(name, types=["flood"], made_by="greedy", concurrency=1000)
    # The operator's are bounded each for itself.
    owned = {f"own{n}": None for n in range(3)} | {"other": "other"}
    for name, owner in owned.items():
        stage.receiver.paths[f"/{name}"] = hang
        stage.subscribe(name, types=["flood"], made_by=owner, concurrency=1000)
    stage.publish(*(f":{n}" for n in range(MANY)), type="flood")
    together.run()
    rows = rows_of(stage)
    assert [rows[name] for name in names] == [3] * 20
    assert [rows[name] for name in owned] == [MAX_WINDOW] * len(owned)


def test_one_whose_messages_all_die_goes_alone_and_the_rest_of_them_die_there(
    stage: PushStage, together: Together
) -> None:
    stage.subscribe("small", types=["flood"], max_payload_bytes=1)
    stage.subscribe("good", types=["order.paid"])
    stage.publish(*(f":{n}" for n in range(MANY)), type="flood")
    stage.publish("x:1")
    ran = together.run()
    assert (alone(ran), stage.keys("good")) == ({"small"}, ["x:1"])
    assert 0 < len(stage.dead_letters()) <= MAX_WINDOW
    together.relay.drain()
    assert len(stage.dead_letters()) == MANY


def test_a_breaker_is_judged_in_the_run_that_follows_alone(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.receiver.paths["/bad"] = respond(500)
    stage.subscribe("bad", retry=LATER, breaker={"minimum": 3, "threshold": 1})
    stage.subscribe("good")
    stage.publish("a:1", "b:1", "c:1")
    judged: list[object] = []
    execute = psycopg.Cursor.execute

    def note(self, query, *arguments, **options):  # type: ignore[no-untyped-def]
        judged.extend([query] if query == JUDGE else [])
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", note)
    together.run()
    assert (judged, stage.breaker("bad")) == ([], "closed")
    came = stage.keys("bad")
    stage.publish("d:1")
    together.relay.round()
    assert (judged, stage.breaker("bad")) == ([JUDGE], "open")
    assert stage.keys("bad") == came


def test_failures_that_another_relay_has_outlived_open_no_breaker_after_their_window(
    stage: PushStage, together: Together
) -> None:
    """The one that saw them has no run of its own meanwhile."""
    breaker = {"minimum": 3, "threshold": 1, "window_seconds": 60}
    stage.receiver.paths["/bad"] = respond(500)
    stage.subscribe("bad", retry=LATER, breaker=breaker)
    stage.subscribe("good")
    stage.publish("a:1", "b:1", "c:1")
    together.run()
    request_loop = together.relay.request_loop
    ((subscription_id, made),) = request_loop._late_failures.items()
    assert len(made) == 3
    request_loop._late_failures[subscription_id] = [(at - 61, refused) for at, refused in made]
    stage.publish("d:1")
    together.relay.round()
    assert stage.breaker("bad") == "closed"


def test_whatever_fails_in_whichever_run_each_message_arrives_in_the_order_of_its_group(
    stage: PushStage, together: Together
) -> None:
    chance = Random(20_261_130)
    accepted: dict[str, list[str]] = {"/s": [], "/t": []}

    def react(request: Received) -> Reaction:
        if chance.random() < 0.1:
            return respond(500)
        accepted[request.path].append(request.header("idempotency-key"))
        return OK

    stage.receiver.react = react
    stage.subscribe("s")
    stage.subscribe("t", concurrency=2)
    written: list[str] = []
    for _ in range(6):
        for _ in range(60):
            written.append(f"g{chance.randint(1, 9)}:{len(written)}")
            stage.publish(written[-1])
        together.run(limit=chance.choice((5, 40, 500)))
        together.relay.round(limit=chance.choice((5, 40, 500)))
        stage.let_time_pass()
    while together.relay.probe():
        together.run()
        together.relay.round()
        stage.let_time_pass()
    for keys in accepted.values():
        assert sorted(keys) == sorted(written)
        assert inversions(keys) == []
