"""The endpoints as the benchmark sees them: where they are, and what has come."""

import subprocess
import sys
from pathlib import Path
from typing import Self

import msgspec
import trustme

END_TIMEOUT_SECONDS = 10


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Of message `n`; when it was whole and when it was answered, nanoseconds since 1970."""

    n: int
    begin: int
    end: int


_decode = msgspec.json.Decoder(dict[str, list[Request]]).decode


class Endpoints:
    """The receiver's process, while it is entered.

    Over TLS, an authority vouches for it that is made for this: `authority`, a file.
    """

    def __init__(self, directory: Path) -> None:
        """`directory` is for the authority's and the receiver's certificates."""
        self.authority = directory / "authority.pem"
        self._certificate = directory / "receiver.pem"

    def __enter__(self) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(self._certificate)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.push.receiver", str(self._certificate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port, secure_port = map(int, self._line().split())
        self.url = f"http://127.0.0.1:{port}"
        self.secure_url = f"https://127.0.0.1:{secure_port}"
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # The end of its input is the receiver's.
            self._process.communicate(timeout=END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def take(self) -> dict[str, list[Request]]:
        """What has come to each path since the last time, in the order of the answers."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return _decode(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the receiver ended with {self._process.wait()}")
        return line
