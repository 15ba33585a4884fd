"""Looking the names of brokers up: what hangs is left out, and holds up nobody else."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from relay.kafka.connectors import look_ups
from relay.kafka.connectors.look_ups import LookUps
from tests.eventually import eventually


class Names:
    """A server of names: those that begin with `slow` are answered when they are released."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()

    def look_up(self, host: str, port: object, **_: object) -> list[object]:
        self.asked[host] += 1
        if host.startswith("slow"):
            self.released.wait(30)
        if host.startswith("no"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(0, 0, 0, "", ("8.8.8.8", 0)), (0, 0, 0, "", ("8.8.8.8", 0))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.look_up)
    monkeypatch.setattr(look_ups, "LOOK_UP_SECONDS", 0.3)
    yield found
    found.released.set()


def slow(owner: str, number: int) -> list[str]:
    return [f"slow-{owner}-{n}.example.com" for n in range(number)]


def test_addresses_are_in_the_order_of_the_names(names: Names) -> None:
    hosts = ["a.example.com", "nowhere", "b.example.com", "a.example.com"]
    assert LookUps().addresses(hosts, None) == [["8.8.8.8"], [], ["8.8.8.8"], ["8.8.8.8"]]
    assert names.asked["a.example.com"] == 1


def test_names_that_hang_are_left_out_together(names: Names) -> None:
    """Ten of them take no longer than one: a session that stands still is given up."""
    began_at = time.monotonic()
    found = LookUps().addresses([*slow("a", 9), "quick.example.com"], None)
    assert found == [[] for _ in range(9)] + [["8.8.8.8"]]
    assert time.monotonic() - began_at < 2.0


def test_a_name_that_hangs_is_asked_for_once_however_often_a_session_begins(names: Names) -> None:
    found = LookUps()
    for _ in range(5):
        assert found.addresses(slow("a", 2), "shop") == [[], []]
    assert names.asked == Counter(slow("a", 2))


def test_an_answer_that_comes_late_is_the_next_sessions(names: Names) -> None:
    found = LookUps()
    assert found.addresses(slow("a", 1), None) == [[]]
    names.released.set()
    eventually(lambda: _demand(not found._under_way), 10)
    assert found.addresses(slow("a", 1), None) == [["8.8.8.8"]]


def test_a_keys_names_that_hang_hold_up_nobody_else(names: Names) -> None:
    found = LookUps()
    for n in range(0, 100, 10):
        found.addresses(slow("greedy", 100)[n : n + 10], "greedy")
    assert len(found._under_way) == look_ups.MAX_OF_A_KEY
    for made_by in ("shop", None):
        assert found.addresses(["quick.example.com"], made_by) == [["8.8.8.8"]]


def test_there_are_so_many_in_all(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds no place waits for one."""
    monkeypatch.setattr(look_ups, "MAX_LOOK_UPS", 3)
    found = LookUps()
    found.addresses(slow("a", 5), None)
    assert names.asked.total() == 3
    monkeypatch.setattr(look_ups, "LOOK_UP_SECONDS", 10.0)
    threading.Timer(0.2, names.released.set).start()
    assert found.addresses(["quick.example.com"], None) == [["8.8.8.8"]]


def test_without_a_thread_for_it_a_name_is_left_out(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    found = LookUps()
    assert found.addresses(["quick.example.com"], None) == [[]]
    assert not found._under_way


def _demand(holds: bool) -> None:
    assert holds
