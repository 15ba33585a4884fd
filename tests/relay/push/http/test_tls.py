"""An https endpoint proves who it is before anything is sent; why it did not is told."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop

from relay.push.http import pool
from relay.push.http.answer import Answer
from relay.push.http.client import Destination
from relay.push.http.connection import (
    MAX_EMPTY_BYTES,
    MAX_HANDSHAKE_BYTES,
    Connection,
)
from relay.push.http.deadlines import Deadlines
from relay.push.http.decrypted import BUFFER_BYTES
from relay.push.http.guard import Guard
from relay.push.http.handshakes import Handshakes
from relay.push.http.lines import Lines
from relay.push.http.records import MAX_READ_BYTES
from relay.push.http.tls import NO_COMPRESSED_CERTIFICATES, client_context
from tests.relay.push.http.endpoint import OK, Endpoint, Script, endpoint, request, until_closed
from tests.relay.push.http.requests import LOOPBACK, Client, Request

NAME = "hooks.example.com"
# Of TLS 1.3: header, type and tag.
RECORD_OVERHEAD_BYTES = 22
# About a megabyte.
MAX_TICKETS = 4000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As operators add an authority of their own: OpenSSL's environment variable."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@contextmanager
def secure(
    certificate: trustme.LeafCert,
    script: Script,
    tickets: int = 2,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Iterator[tuple[Endpoint, list[str | None]]]:
    """A TLS server that hands out so many tickets, and the names that were asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = tickets
    context.maximum_version = version
    certificate.configure_cert(context)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    def speak(plain: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as wrapped:
            script(wrapped)

    with endpoint(speak) as server:
        yield server, names


def answering(connection: socket.socket) -> None:
    while True:
        request(connection)
        connection.sendall(OK)


def look_up(host: str, port: int, **_: object) -> list[object]:
    where = ("127.0.0.1", port)
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]


def ask(
    port: int,
    host: str = NAME,
    times: int = 1,
    body: bytes = b"{}",
    timeout_seconds: float = 10.0,
) -> list[Answer]:
    async def several() -> list[Answer]:
        client = Client(Guard(LOOPBACK), look_up)  # type: ignore[arg-type]
        url = f"https://{host}:{port}/"
        asked = Request(url, {"x-own": "1"}, body, timeout_seconds, float("inf"))
        got = [await client.post(asked) for _ in range(times)]
        await client.close()
        return got

    return uvloop.run(several())


def ask_at_once(port: int, times: int) -> list[Answer]:
    """Each but the first in the moment in which the one before is answered."""

    async def several() -> list[Answer]:
        client = Client(Guard(LOOPBACK), look_up)  # type: ignore[arg-type]
        to = Destination(f"https://{NAME}:{port}/", 10.0)
        answers: list[Answer] = []
        over = asyncio.Event()

        def answered(answer: Answer) -> None:
            answers.append(answer)
            if len(answers) == times:
                over.set()
            else:
                client.send(to, Lines(b""), b"{}", float("inf"), answered)

        client.send(to, Lines(b""), b"{}", float("inf"), answered)
        await asyncio.wait_for(over.wait(), 60)
        await client.close()
        return answers

    return uvloop.run(several())


@pytest.mark.usefixtures("trusted")
def test_a_trusted_endpoint_gets_its_messages_and_its_name_in_the_handshake(
    authority: trustme.CA,
) -> None:
    with secure(authority.issue_cert(NAME), answering) as (server, names):
        got = ask(server.port, times=3, body=bytes(900_000))
        assert [answer.error for answer in got] == [None] * 3
        assert set(names) == {NAME}


@pytest.mark.usefixtures("trusted")
def test_a_name_that_ends_with_a_dot_is_proved_without_it(authority: trustme.CA) -> None:
    with secure(authority.issue_cert(NAME), answering) as (server, names):
        assert ask(server.port, host=f"{NAME}.")[0].error is None
        assert names == [NAME]


def test_an_authority_that_was_not_configured_is_not_trusted(authority: trustme.CA) -> None:
    with secure(authority.issue_cert(NAME), answering) as (server, _):
        (answer,) = ask(server.port)
        assert answer.error == "tls_untrusted"
        assert "certificate verify failed" in answer.detail


def test_a_machine_without_authorities_blames_no_endpoint(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with secure(authority.issue_cert(NAME), answering) as (server, _):
        (answer,) = ask(server.port)
        assert answer.error == "no_connection"
        assert "install ca-certificates" in answer.detail
        # As soon as there is one it is asked.
        authority.cert_pem.write_to_path(tmp_path / "nowhere.pem")
        assert ask(server.port)[0].error is None


@pytest.mark.usefixtures("trusted")
def test_what_is_wrong_with_a_certificate_is_told_apart(authority: trustme.CA) -> None:
    now = datetime.now(UTC)
    past, future = now - timedelta(days=2), now + timedelta(days=2)
    wrong = {
        "tls_expired": authority.issue_cert(NAME, not_before=past, not_after=now),
        "tls_wrong_host": authority.issue_cert("other.example.com"),
        "tls_untrusted": trustme.CA().issue_cert(NAME),
    }
    got = {}
    for word, certificate in wrong.items():
        with secure(certificate, answering) as (server, _):
            got[word] = ask(server.port)[0].error
    assert got == {word: word for word in wrong}
    with secure(authority.issue_cert(NAME, not_before=future), answering) as (server, _):
        assert ask(server.port)[0].error == "tls_expired"


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_a_name_does_not_serve_its_address(authority: trustme.CA) -> None:
    with secure(authority.issue_cert(NAME), answering) as (server, _):
        assert ask(server.port, "127.0.0.1")[0].error == "tls_wrong_host"
    with secure(authority.issue_cert("127.0.0.1"), answering) as (server, _):
        assert ask(server.port, "127.0.0.1")[0].error is None


def test_an_endpoint_without_a_common_version_is_told_apart() -> None:
    """It says so with the alert of RFC 8446, section 6."""
    alert = b"\x15\x03\x01\x00\x02\x02\x46"

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(alert)

    with endpoint(refuse) as server:
        (answer,) = ask(server.port)
        assert answer.error == "tls_version"


@pytest.mark.usefixtures("trusted")
def test_an_unsolicited_answer_counts_for_no_message_over_tls(
    authority: trustme.CA,
) -> None:
    got: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        connection.sendall(OK + (OK if len(got) == 1 else b""))
        until_closed(connection)

    with secure(authority.issue_cert(NAME), speak) as (server, _):
        answers = ask(server.port, times=2)
        assert [answer.error for answer in answers] == [None, None]
        assert len(got) == 2


@pytest.mark.usefixtures("trusted")
def test_what_tls_still_holds_behind_an_answer_counts_for_no_message(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS hands over as much as its buffer takes, and the rest in another turn of the loop."""
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    got: list[bytes] = []
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %05d\r\n\r\n"
    body_bytes = BUFFER_BYTES - len(head % 0)
    full = head % body_bytes + b"x" * body_bytes

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        while len(got) < 3:
            # The connection proves itself first.
            connection.sendall(OK)
            got.append(request(connection))
        connection.sendall(6 * full)
        # What is asked now is not read as a request.
        until_closed(connection)

    with secure(authority.issue_cert(NAME), speak, tickets=0) as (server, _):
        answers = ask_at_once(server.port, times=9)
        assert [answer.error for answer in answers] == [None] * 9
        assert len(got) == 9


@pytest.mark.usefixtures("trusted")
def test_a_connection_that_is_closed_as_tls_asks_for_while_it_rests_is_forgotten(
    authority: trustme.CA,
) -> None:
    got: list[bytes] = []

    def speak(connection: socket.socket) -> None:
        got.append(request(connection))
        connection.sendall(OK)
        assert isinstance(connection, ssl.SSLSocket)
        connection.unwrap()

    async def slowly(port: int) -> list[Answer]:
        client = Client(Guard(LOOPBACK), look_up)  # type: ignore[arg-type]
        asked = Request(f"https://{NAME}:{port}/", {}, b"{}", 10.0, float("inf"))
        answers = []
        for _ in range(3):
            answers.append(await client.post(asked))
            await asyncio.sleep(0.1)
        await client.close()
        return answers

    with secure(authority.issue_cert(NAME), speak) as (server, _):
        assert [answer.error for answer in uvloop.run(slowly(server.port))] == [None] * 3
        assert len(got) == 3


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("closes", "error"), [(False, "timeout"), (True, "disconnected")])
def test_no_acknowledgement_counts_over_tls_before_the_request_is_written_whole(
    authority: trustme.CA, closes: bool, error: str
) -> None:
    over = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.recv(300)
        connection.sendall(OK)
        if closes:
            time.sleep(0.1)
            connection.close()
        over.wait(10)

    async def large(port: int) -> Answer:
        client = Client(Guard(LOOPBACK), look_up)  # type: ignore[arg-type]
        timeout = 30.0 if closes else 1.0
        asked = Request(f"https://{NAME}:{port}/", {}, bytes(20_000_000), timeout, float("inf"))
        answer = await client.post(asked)
        await client.close()
        return answer

    with secure(authority.issue_cert(NAME), speak) as (server, _):
        answer = uvloop.run(large(server.port))
        over.set()
        assert (answer.status, answer.error) == (None, error)


def test_no_key_exchange_over_finite_fields_is_offered() -> None:
    """The endpoint would choose how long the loop that serves all of them computes."""
    context = client_context()
    assert not any("DHE-" in one["name"].replace("ECDHE-", "") for one in context.get_ciphers())
    hello, answers = ssl.MemoryBIO(), ssl.MemoryBIO()
    asked = context.wrap_bio(answers, hello, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        asked.do_handshake()
    # Extension supported_groups, its length, the list's, and P-256 alone.
    # https://www.rfc-editor.org/rfc/rfc8446#section-4.2.7
    assert b"\x00\x0a\x00\x04\x00\x02\x00\x17" in hello.read()


def test_a_handshake_that_never_ends_is_over_at_the_timeout() -> None:
    with endpoint(until_closed_quietly) as server:

        async def once() -> Answer:
            client = Client(Guard(LOOPBACK))
            url = f"https://127.0.0.1:{server.port}/"
            answer = await client.post(Request(url, {}, b"", 0.2, float("inf")))
            await client.close()
            return answer

        answer = uvloop.run(once())
        assert answer.error == "timeout"
        assert answer.seconds < 5


def until_closed_quietly(connection: socket.socket) -> None:
    with suppress(TimeoutError):
        until_closed(connection)


@pytest.mark.usefixtures("trusted")
def test_tls_records_without_data_are_bounded(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session tickets, as many as the endpoint likes, and then a good answer."""
    counted: list[int] = []

    def count(self: Connection, size: int) -> None:
        counted.append(size)
        count_records(self, size)

    count_records = Connection.count_records
    monkeypatch.setattr(Connection, "count_records", count)
    with secure(authority.issue_cert(NAME), answering, tickets=MAX_TICKETS) as (server, _):
        (answer,) = ask(server.port)
        # By when the bound was met: the handshake ends with the first of them.
        assert answer.error in ("protocol", "tls_too_large")
        # The bounds, and what one read brings.
        assert sum(counted) <= MAX_HANDSHAKE_BYTES + MAX_EMPTY_BYTES + 2 * MAX_READ_BYTES


@pytest.mark.usefixtures("trusted")
def test_a_few_tickets_and_many_small_records_are_nothing_odd(authority: trustme.CA) -> None:
    """So many that their own bytes come to more than the bound, over all answers."""
    long = OK.replace(b"\r\n\r\n", b"\r\nX-Long: %b\r\n\r\n" % (b"x" * 300))

    def byte_by_byte(connection: socket.socket) -> None:
        while True:
            request(connection)
            for byte in long:
                connection.sendall(bytes([byte]))

    with secure(authority.issue_cert(NAME), byte_by_byte, tickets=20) as (server, _):
        got = ask(server.port, times=40)
        assert {answer.error for answer in got} == {None}
        overhead_bytes = 40 * len(long) * RECORD_OVERHEAD_BYTES
        assert overhead_bytes / server.connections > MAX_EMPTY_BYTES


def test_a_handshake_of_requests_to_begin_it_again_ends_at_its_bound() -> None:
    """HelloRequest of RFC 5246, section 7.4.1.1, which a client passes over in a handshake."""
    hello_requests = b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.settimeout(20.0)
        while True:
            connection.sendall(hello_requests)
            sent.append(len(hello_requests))

    with endpoint(flood) as server:
        (answer,) = ask(server.port)
        assert answer.error == "tls_too_large"
        assert "24576 bytes" in answer.detail


@pytest.mark.parametrize("rests", [False, True])
def test_records_without_data_end_a_connection_also_while_it_rests(rests: bool) -> None:
    class Carrier(asyncio.Transport):
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    async def flood() -> bool:
        connection, carrier = Connection(Keeper()), Carrier()
        connection.carried(carrier)
        if rests:
            connection.requests = 1
        longest = MAX_EMPTY_BYTES if rests else MAX_HANDSHAKE_BYTES
        for _ in range(longest):
            connection.count_records(1)
            connection.check_records()
        assert not carrier.aborted
        connection.count_records(1)
        connection.check_records()
        return carrier.aborted

    assert asyncio.run(flood())


def test_an_endpoint_can_not_negotiate_again() -> None:
    assert client_context().options & ssl.OP_NO_RENEGOTIATION


def test_an_endpoint_can_not_send_more_certificates_than_bytes() -> None:
    """They would be unpacked after what came in was counted: RFC 8879."""
    assert client_context().options & NO_COMPRESSED_CERTIFICATES


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("others", "error"), [(10, None), (100, "tls_too_large")])
def test_a_chain_of_certificates_is_parsed_where_it_is_no_longer_than_servers_have_them(
    authority: trustme.CA, others: int, error: str | None, version: ssl.TLSVersion
) -> None:
    issued, above = authority.issue_cert(NAME), authority.cert_pem.bytes()
    key, own = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    certificate = trustme.LeafCert(key, own, [above] * others)
    with secure(certificate, answering, version=version) as (server, _):
        assert ask(server.port)[0].error == error


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("rests", "error"), [(False, "no_connection"), (True, "timeout")])
def test_a_handshake_that_waits_too_long_for_those_of_others_is_no_endpoints_failure(
    rests: bool, error: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that waits because its own key's took long is."""
    monkeypatch.setattr(Handshakes, "add", lambda *_: None)
    monkeypatch.setattr(Handshakes, "is_resting", lambda *_: rests)
    with secure(authority.issue_cert(NAME), answering) as (server, _):
        (answer,) = ask(server.port, timeout_seconds=0.5)
        assert answer.error == error


class Keeper:
    """Of connections that no pool has."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()

    def rest(self, connection: Connection) -> None:
        """The test does not use it."""

    def lost(self, connection: Connection) -> None:
        """The test does not use it."""
