"""Promises of the jar cache, kept against a Maven repository on loopback."""

import functools
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jgo.maven import MavenContext

from local import maven
from local.server import StartError

JARS = {
    "org/example/first/1.0/first-1.0.jar": b"first jar",
    "org/example/second/2.0/second-2.0.jar": b"second jar",
}
DIGESTS = {path: hashlib.sha256(body).hexdigest() for path, body in JARS.items()}
LISTED = maven.Jars("Two jars", "two-jars", megabytes=0, digests=DIGESTS)


class Repository(ThreadingHTTPServer):
    """A Maven repository that counts how often each jar was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(JARS)
        self.requests: Counter[str] = Counter()


class Answer(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path, _, checksum = self.path.lstrip("/").partition(".jar")
        path += ".jar"
        body = self.server.files.get(path)
        self.send_response(404 if body is None else 200)
        if body is not None and checksum == ".sha1":
            body = hashlib.sha1(body).hexdigest().encode()
        else:
            self.server.requests[path] += 1
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with Repository() as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        context = functools.partial(MavenContext, remote_repos={"loopback": url})
        monkeypatch.setattr(maven, "MavenContext", context)
        yield server
        server.shutdown()


def contents(paths: list[Path]) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def test_the_first_use_fetches_each_jar_once(repository: Repository, tmp_path: Path) -> None:
    assert contents(LISTED.provide(tmp_path / "cache")) == list(JARS.values())
    assert repository.requests == dict.fromkeys(JARS, 1)


def test_the_second_use_fetches_nothing(repository: Repository, tmp_path: Path) -> None:
    LISTED.provide(tmp_path / "cache")
    repository.requests.clear()
    assert contents(LISTED.provide(tmp_path / "cache")) == list(JARS.values())
    assert not repository.requests


def test_a_damaged_jar_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    LISTED.provide(tmp_path / "cache")[0].write_bytes(b"first j")
    assert contents(LISTED.provide(tmp_path / "cache")) == list(JARS.values())


def test_a_jar_that_is_not_the_one_on_the_list_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    repository.files["org/example/second/2.0/second-2.0.jar"] = b"another jar"
    with pytest.raises(StartError, match=r"second-2\.0\.jar has SHA-256"):
        LISTED.provide(tmp_path / "cache")


def test_a_jar_that_is_not_there_is_told(repository: Repository, tmp_path: Path) -> None:
    del repository.files["org/example/first/1.0/first-1.0.jar"]
    with pytest.raises(StartError, match="Two jars can't be fetched"):
        LISTED.provide(tmp_path / "cache")


def test_a_fetch_that_was_killed_is_done_again(repository: Repository, tmp_path: Path) -> None:
    half = tmp_path / "cache" / "two-jars.part"
    half /= "org/example/first/1.0/first-1.0.jar"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"fir")
    assert contents(LISTED.provide(tmp_path / "cache")) == list(JARS.values())


def test_of_two_starts_at_once_one_fetches(repository: Repository, tmp_path: Path) -> None:
    results: list[list[bytes]] = []

    def start() -> None:
        results.append(contents(LISTED.provide(tmp_path / "cache")))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(JARS.values())] * 4
    assert repository.requests == dict.fromkeys(JARS, 1)
