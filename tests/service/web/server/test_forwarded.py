"""Whose request it is: the peer's, unless the peer is a proxy that the operator has named."""

import json
from collections.abc import Callable

import pytest

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS
from tests.service.raw import get
from tests.service.web.front import start

FORGED = (
    "X-Forwarded-For: 203.0.113.7",
    "X-Real-IP: 203.0.113.7",
    "Forwarded: for=203.0.113.7",
    "X-Forwarded-Proto: https",
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("named", "address"),
    [
        (None, "127.0.0.1"),
        ("", "127.0.0.1"),
        ("10.0.0.7", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7"),
        ("10.0.0.7, 127.0.0.0/8", "203.0.113.7"),
    ],
)
def test_the_address_in_the_log_is_the_peers_or_what_a_named_proxy_says(
    spawn: Spawn,
    database_url: str,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
    address: str,
) -> None:
    # uvicorn's own variable says nothing here.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    settings = {} if named is None else {"SERVICE_FORWARDED_ALLOW_IPS": named}
    front = start(spawn, database_url, free_port(), **settings)
    with front.raw() as client:
        assert client.send(get(SUBSCRIPTIONS, *FORGED)).answer()[0] == 401

    def told() -> None:
        lines = [json.loads(line) for line in front.program.output().splitlines()]
        addresses = [line["address"] for line in lines if line["event"] == "unauthorized"]
        assert addresses == [address]

    eventually(told)
