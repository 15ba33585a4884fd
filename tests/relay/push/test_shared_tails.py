"""For whom a shared run waits, how long, and who goes alone for it."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable

import pytest

from relay.push.http.client import Client
from relay.push.lease import Lease
from relay.push.requests import sending
from relay.push.requests.loop import BEHIND_SECONDS
from relay.push.requests.sending import Sending
from relay.push.requests.usual_time import UsualTime
from tests.eventually import eventually
from tests.receiver import OK, Connection, after, hang, respond
from tests.relay.push.stage import Answers, PushStage
from tests.relay.push.together import Together, subscribe


class AlmostThere:
    """A request loop for which every moment is so near that it makes no timer of it, as uvloop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def call_at(self, _: float, callback: Callable[..., object], *given: object) -> asyncio.Handle:
        return self._loop.call_soon(callback, *given)


def test_one_that_hangs_is_waited_for_a_moment_and_then_goes_alone(
    stage: PushStage, together: Together, impatience: None
) -> None:
    subscribe(stage, "good", "better", "hangs")
    stage.receiver.paths["/hangs"] = hang
    stage.publish("a:1", "a:2")
    ran = together.run()
    assert [name for name, one in ran.items() if one.alone] == ["hangs"]
    assert (stage.keys("good"), stage.keys("better")) == (["a:1", "a:2"], ["a:1", "a:2"])
    # Its first is in flight, its second in the log; the others have no row.
    assert [state for _, _, state in stage.rows()] == ["in flight"]
    stage.publish("a:3")
    ran = together.run()
    assert (ran["hangs"].alone, ran["hangs"].progressed) == (True, False)
    assert stage.keys("good") == ["a:1", "a:2", "a:3"]


def test_a_run_is_over_for_all_though_the_time_of_some_ends_in_this_moment(
    stage: PushStage,
    together: Together,
    impatience: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults: list[object] = []
    request_loop = together.relay.request_loop
    request_loop.loop.set_exception_handler(lambda _, fault: faults.append(fault))
    monkeypatch.setattr(request_loop, "loop", AlmostThere(request_loop.loop))
    ends_at = time.monotonic() + 1.0
    monkeypatch.setattr(sending.Sending, "tail_ends_at", lambda *_: ends_at)
    subscribe(stage, "good", "hangs", "stands", "sleeps")
    stage.receiver.paths |= dict.fromkeys(["/hangs", "/stands", "/sleeps"], hang)
    stage.publish("a:1", "a:2")
    ran = together.run()
    assert faults == []
    assert sorted(name for name, one in ran.items() if one.alone) == ["hangs", "sleeps", "stands"]


def test_one_that_answers_late_goes_alone_and_nothing_of_it_is_lost(
    stage: PushStage, together: Together, impatience: None
) -> None:
    subscribe(stage, "good", "slow")
    stage.receiver.paths["/slow"] = after(1.0)
    stage.publish("a:1", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["slow"].alone) == (False, True)
    together.relay.end()
    assert sorted(stage.keys("slow")) == ["a:1", "b:1"]


LARGE = """
insert into outbox.message (channel, type, group_key, idempotency_key, payload)
select 'orders', 'order.paid', 'a', 'a:1', convert_to(repeat('x', %s), 'UTF8')
"""


def test_what_can_not_be_sent_and_is_too_large_for_others_to_wait_for_is_given_up_alone(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good")
    stage.subscribe("small", max_payload_bytes=1000)
    stage.db.execute(LARGE, [900_000])
    stage.publish("a:2", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["small"].alone) == (False, True)
    assert (sorted(stage.keys("good")), stage.keys("small")) == (["a:1", "a:2", "b:1"], [])
    assert (stage.dead_letters(), stage.rows()) == ([], [])
    together.relay.drain()
    assert stage.dead_letters() == [("a:1", "payload_too_large", None, 0, False, False)]
    assert sorted(stage.keys("small")) == ["a:2", "b:1"]


def test_what_was_refused_and_is_too_large_for_others_to_wait_for_is_given_up_alone(
    stage: PushStage, together: Together
) -> None:
    """It was sent once, and that counts."""
    subscribe(stage, "good")
    stage.subscribe("refuses", retry={"schedule_seconds": [], "jitter": 0})
    stage.receiver.paths["/refuses"] = answers = Answers().give("a:1", respond(500))
    stage.db.execute(LARGE, [900_000])
    stage.publish("a:2")
    ran = together.run()
    assert (ran["good"].alone, ran["refuses"].alone) == (False, True)
    assert (stage.dead_letters(), len(stage.rows())) == ([], 1)

    def given_up() -> None:
        together.relay.drain()
        assert stage.dead_letters() == [("a:1", "http_500", "1 attempts", 1, False, False)]
        assert answers.accepted == ["a:2"]

    eventually(given_up)
    assert stage.keys("refuses") == ["a:1", "a:2"]
    assert stage.count("select count(*) from outbox.attempt where error is not null") == 1
    assert stage.rows() == []


def test_of_an_owners_dead_letters_others_wait_for_so_many_bytes_however_many_endpoints_it_has(
    stage: PushStage, together: Together
) -> None:
    for n in range(4):
        stage.subscribe(f"greedy-{n}", max_payload_bytes=1000, made_by="greedy")
    stage.subscribe("own", max_payload_bytes=1000)
    stage.db.execute(LARGE, [100_000])
    together.run()
    assert len(stage.dead_letters()) == 3
    together.relay.drain()
    assert len(stage.dead_letters()) == 5


def test_those_that_make_others_wait_run_after_run_go_alone(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message but one is answered at once, and the last one before it would get a row."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.5)
    subscribe(stage, "good", "better")
    for name in ("evil", "worse"):
        stage.subscribe(name, types=["evil"])
        stage.receiver.paths[f"/{name}"] = lambda request: (
            after(0.15) if request.header("idempotency-key").startswith("slow") else respond()
        )
    # Whatever this machine does meanwhile, answers take no time as a rule.
    monkeypatch.setattr(UsualTime, "note", lambda *_: None)
    together.relay.request_loop.usual.seconds = 0.0
    left = set[str]()
    for n in range(5):
        stage.publish(*(f":{n}-{m}" for m in range(14)), f"slow:{n}", type="evil")
        ran = together.run()
        left |= {name for name, one in ran.items() if one.alone}
    assert left == {"evil", "worse"}
    assert stage.rows() == []


def test_an_answer_that_is_there_when_a_late_loop_ends_the_wait_for_it_has_come_in_time(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stands still at one's answer; then another's is there, and the time is over."""

    def wait_for_answers(seconds: float) -> None:
        monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", seconds)
        monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", seconds)

    wait_for_answers(60.0)
    stage.subscribe("first")
    stage.subscribe("second")
    asked, stood, answered = threading.Event(), threading.Event(), threading.Event()

    async def first(connection: Connection) -> None:
        await asyncio.to_thread(asked.wait, 10)
        connection.write(OK)

    async def second(connection: Connection) -> None:
        asked.set()
        await asyncio.to_thread(stood.wait, 10)
        connection.write(OK)
        await connection.drained()
        answered.set()

    stage.receiver.paths |= {"/first": first, "/second": second}
    note = Sending.answered

    def stand(run: Sending, seconds: float) -> None:
        note(run, seconds)
        if not stood.is_set():
            stood.set()
            assert answered.wait(10)
            wait_for_answers(0.0)
            run._end_tail_in(0.0)

    monkeypatch.setattr(Sending, "answered", stand)
    stage.publish("a:1")
    ran = together.run()
    assert (stage.rows(), ran["second"].alone) == ([], False)


def test_where_the_loop_comes_late_an_answer_has_so_much_longer(together: Together) -> None:
    """A request waits for its turn, and its answer for another."""
    request_loop = together.relay.request_loop
    run = Sending(request_loop, Lease(together.connection, 60, 0.0), shared=True)
    request_loop.usual.seconds = usual = 0.001
    assert run._soon_seconds == sending.TAIL_ANSWERS * usual
    beaten = threading.Event()

    def beat_late() -> None:
        request_loop._beat_after(request_loop.loop.time() - 0.03)
        beaten.set()

    request_loop.loop.call_soon_threadsafe(beat_late)
    assert beaten.wait(10)
    assert run._soon_seconds == pytest.approx(sending.TAIL_ANSWERS * usual + 2 * 0.03, rel=0.01)


def test_where_handshakes_wait_the_loop_is_behind_though_it_gets_round_in_time(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_loop = together.relay.request_loop
    late_seconds = BEHIND_SECONDS
    monkeypatch.setattr(Client, "late_seconds", property(lambda _: late_seconds))
    seen: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def beat() -> None:
        request_loop._beat_after(request_loop.loop.time())
        seen.put(request_loop.is_behind)

    request_loop.loop.call_soon_threadsafe(beat)
    assert not seen.get(timeout=10)
    late_seconds *= 2
    request_loop.loop.call_soon_threadsafe(beat)
    assert seen.get(timeout=10)


def test_where_one_end_is_due_at_once_the_others_end_as_well(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop makes no timer of what is due at once, and such a handle knows no time."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.02)
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.1)
    end_tail = Sending._end_tail

    def with_one_at_once(run: Sending) -> None:
        run._batches[0]._look_again_at(run._loop.time())
        end_tail(run)

    monkeypatch.setattr(Sending, "_end_tail", with_one_at_once)
    for name in ("a", "b", "c"):
        stage.receiver.paths[f"/{name}"] = hang
        stage.subscribe(name, timeout_seconds=5)
    stage.publish("m:1")
    together.run()
    assert stage.count("select count(*) from outbox.delivery where token is not null") == 3
