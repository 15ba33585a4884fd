"""What `make bench-push` goes by."""

import ssl
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.push.drain import check
from bench.push.endpoints import Endpoints, Request
from bench.push.slots import used


def test_slots_are_used_while_a_request_is_with_the_endpoint_and_the_ramps_count_for_nothing() -> (
    None
):
    requests = [Request(n, n * 10, n * 10 + 15) for n in range(100)]
    assert used(requests, concurrency=2, ramp=100) == pytest.approx(0.75)


def test_a_message_that_did_not_come_to_every_endpoint_is_a_failure() -> None:
    came = {"/ok/0": [Request(n, 0, 0) for n in (0, 1)], "/ok/1": [Request(0, 0, 0)] * 2}
    with pytest.raises(RuntimeError, match="2 messages to 2 endpoints"):
        check(came, subscriptions=2, messages=2)


@pytest.mark.parametrize("secure", [False, True])
def test_an_endpoint_tells_which_message_came_once(tmp_path: Path, secure: bool) -> None:
    with Endpoints(tmp_path) as endpoints:
        connection: HTTPConnection
        if secure:
            believed = ssl.create_default_context(cafile=endpoints.authority)
            where = urlsplit(endpoints.secure_url).netloc
            connection = HTTPSConnection(where, timeout=10, context=believed)
        else:
            connection = HTTPConnection(urlsplit(endpoints.url).netloc, timeout=10)
        connection.request("POST", "/ok/7", b'{"n": 42, "text": "x"}')
        assert connection.getresponse().status == 200
        connection.close()
        (request,) = endpoints.take()["/ok/7"]
        assert request.n == 42
        assert endpoints.take() == {}


def test_a_failing_endpoint_fails_every_second_request(tmp_path: Path) -> None:
    with Endpoints(tmp_path) as endpoints:
        connection = HTTPConnection(urlsplit(endpoints.url).netloc, timeout=10)
        answers = []
        for n in range(4):
            connection.request("POST", "/fail/0", f'{{"n": {n}, "text": "x"}}'.encode())
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
        connection.close()
        assert answers == [500, 200, 500, 200]
