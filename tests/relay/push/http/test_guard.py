"""A subscription's endpoint leads nowhere inside, however it is spelled."""

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
import uvloop

from relay.push.http import resolver
from relay.push.http.answer import Answer
from relay.push.http.fault import Fault
from relay.push.http.guard import Guard
from relay.push.http.url import parse
from relay.settings import Settings
from tests.receiver import Receiver, redirect, respond
from tests.relay.push.http.requests import LOOPBACK, Client, post, request

# Each leads to the loopback interface, where a socket listens, or could reach what
# only this machine or its network reaches.
HOSTILE = [
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.0.1", "2130706433", "017700000001",
    "0177.0.0.1", "0x7f000001", "0x7f.0.0.1", "0x7F.1", "127.0.0.1.", "127.255.255.254", "0",
    "0.0.0.0", "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "[::1]",
    "[0:0:0:0:0:0:0:1]", "[::]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1:7f00:0:100::]", "[2002:7f00:1::]", "[2001:0:7f00:1::]",
    "[2001:0:808:808::80ff:fffe]", "[fe80::1%25lo]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]",
    "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[4000::1]", "10.0.0.1", "172.16.0.1",
    "192.168.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "2852039166",
    "[::ffff:169.254.169.254]", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
]  # fmt: skip


@pytest.fixture(scope="module")
def listening() -> Iterator[socket.socket]:
    """On every address of the loopback interface; connects are not accepted, so they stay seen."""
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        if socket.has_dualstack_ipv6()
        else socket.create_server(("0.0.0.0", 0)) as server
    ):
        server.setblocking(False)
        yield server


def test_no_hostile_target_is_ever_connected_to(listening: socket.socket) -> None:
    async def all_of_them() -> dict[str, Answer]:
        client = Client(Guard([]))
        port = listening.getsockname()[1]
        try:
            return {
                url: await client.post(request(url))
                for host in HOSTILE
                for url in (f"http://{host}:{port}/", f"https://{host}:{port}/")
            }
        finally:
            await client.close()

    answers = uvloop.run(all_of_them())
    assert len(answers) == len(HOSTILE) * 2 >= 80
    assert {answer.error for answer in answers.values()} == {"forbidden_address"}
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_that_test_would_see_a_connect(listening: socket.socket) -> None:
    post(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout_seconds=0.05)
    listening.accept()[0].close()


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "2606:4700::1",
        "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8",
        "64:ff9b:1:808:8:800::", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7",
    ],
)  # fmt: skip
def test_public_addresses_are_allowed(address: str) -> None:
    assert Guard([]).allows(address)


def test_an_operator_opens_networks_and_nothing_beside_them() -> None:
    guard = Guard([ip_network("10.1.0.0/16"), ip_network("fd00::/8")])
    for inside in ("10.1.2.3", "fd12::1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"):
        assert guard.allows(inside)
    for outside in ("10.2.0.1", "127.0.0.1", "fc00::1", "::ffff:10.2.0.1", "no address", ""):
        assert not guard.allows(outside)


class Names:
    """Stands in for the servers of names: each look-up takes the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def look_up(self, host: str, port: int, **_: Any) -> list[Any]:
        addresses = self.answers.pop(0)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]


def ask_twice(names: Names, port: int) -> list[Answer]:
    async def twice() -> list[Answer]:
        client = Client(Guard(LOOPBACK), names.look_up)
        try:
            return [
                await client.post(request(f"http://hooks.example.com:{port}/")) for _ in range(2)
            ]
        finally:
            await client.close()

    return uvloop.run(twice())


def test_a_name_that_resolves_public_first_and_inside_next_is_refused_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "CACHE_SECONDS", 0)
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with Receiver(respond(headers={"Connection": "close"})) as receiver:
        first, second = ask_twice(names, receiver.port)
        assert (first.error, second.error) == (None, "forbidden_address")
        assert receiver.received("/")[0].header("host") == f"hooks.example.com:{receiver.port}"
        assert receiver.connections == 1


def test_a_name_with_one_refused_address_is_refused_whichever_would_be_dialled() -> None:
    with Receiver() as receiver:
        names = Names(["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"])
        answers = ask_twice(names, receiver.port)
        assert [answer.error for answer in answers] == ["forbidden_address"] * 2
        assert receiver.connections == 0


def test_a_redirect_to_the_metadata_service_is_a_failure_and_not_followed() -> None:
    with Receiver() as receiver:
        for status in (301, 302, 303, 307, 308):
            receiver.react = redirect("http://169.254.169.254/latest/meta-data", status)
            assert post(receiver.url).error == "redirect"
        receiver.react = redirect(f"{receiver.url}/elsewhere")
        answer = post(receiver.url)
        assert (answer.status, answer.error) == (302, "redirect")
        assert "elsewhere" in answer.detail
        assert set(receiver.counts()) == {"/"}


def test_what_the_operator_denies_is_refused_though_it_is_public_or_allowed() -> None:
    guard = Guard(
        [ip_network("10.0.0.0/8")],
        [ip_network("10.9.0.0/16"), ip_network("8.8.8.0/24"), ip_network("2606:4700::/32")],
    )
    for denied in ("10.9.1.1", "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
                   "2002:808:808::1", "::ffff:10.9.0.1"):  # fmt: skip
        assert not guard.allows(denied)
        with pytest.raises(Fault, match="RELAY_DENY_NETWORKS"):
            guard.check(denied)
    for allowed in ("10.8.1.1", "8.8.4.4", "2606:4701::1"):
        guard.check(allowed)


@pytest.mark.parametrize("port", [22, 25, 81, 110, 1023])
def test_ports_where_no_endpoint_listens_are_not_dialled(port: int) -> None:
    answer = post(f"http://127.0.0.1:{port}/")
    assert answer.error == "forbidden_port"
    assert "RELAY_PUSH_PORTS" in answer.detail


def test_the_operator_may_say_which_ports_and_that_all_goes_by_tls() -> None:
    environment = {
        "DATABASE_URL": "postgresql://relay@db/shop",
        "RELAY_PUSH_PORTS": "443, 8000-8999",
        "RELAY_PUSH_HTTPS_ONLY": "true",
    }
    guard = Guard.of(Settings.from_environment(environment))
    for url in ("https://a.example/", "https://a.example:8000/", "https://a.example:8999/"):
        guard.admit(parse(url).origin)
    for url, word in {
        "https://a.example:7999/": "forbidden_port",
        "https://a.example:9000/": "forbidden_port",
        "http://a.example:8000/": "https_only",
    }.items():
        with pytest.raises(Fault) as refused:
            guard.admit(parse(url).origin)
        assert refused.value.word == word
