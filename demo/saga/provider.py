"""The payment provider, somebody else's: it takes money, and sometimes its answer is lost.

`python -m demo.saga.provider`. From the environment: PORT, BOOK (its SQLite file). Where an answer
is lost, the charge is committed and the connection is closed without a word.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import UUID

import msgspec

from demo.saga import fate

CLIENT_TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES = 10_000

SCHEMA = """
    pragma journal_mode = wal;
    create table if not exists entry (
        key          text primary key,
        kind         text not null check (kind in ('charge', 'refund')),
        order_id     text not null,
        amount_cents integer not null,
        outcome      text not null,
        calls        integer not null default 1
    );
"""


class Demand(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a request: whose money, and how much of it."""

    order_id: UUID
    amount_cents: int


class Verdict(msgspec.Struct, frozen=True):
    """`outcome`: taken, declined, or failed, which changed nothing and may be asked again."""

    outcome: str


class Book:
    """Every idempotency key with what became of it. The same key gets the same answer."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """`shared`: another thread than this one may serve it, one at a time."""
        self._connection = connect(path, shared=shared)
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def enter(self, kind: str, key: str, demand: Demand) -> tuple[str, int]:
        """The outcome of this key, and which call by this key it is. One transaction."""
        with self._connection:
            known = self._connection.execute(COUNT_CALL, (key,)).fetchall()
            calls = int(known[0][1]) if known else 1
            if known and known[0][0] != "failed":
                return str(known[0][0]), calls
            outcome = self._decide(kind, demand.order_id, calls)
            row = (key, kind, str(demand.order_id), demand.amount_cents, outcome)
            self._connection.execute(ENTER, row)
        return outcome, calls

    @staticmethod
    def _decide(kind: str, order_id: UUID, calls: int) -> str:
        if kind == "charge":
            return "declined" if fate.is_declined(order_id) else "taken"
        return "failed" if calls <= fate.failed_refunds(order_id) else "taken"


COUNT_CALL = "update entry set calls = calls + 1 where key = ? returning outcome, calls"
ENTER = """
    insert into entry (key, kind, order_id, amount_cents, outcome) values (?, ?, ?, ?, ?)
    on conflict (key) do update set outcome = excluded.outcome
"""


class Request(BaseHTTPRequestHandler):
    """POST /charge or /refund with an Idempotency-Key; GET /healthz."""

    timeout = CLIENT_TIMEOUT_SECONDS
    server: "Provider"

    def do_GET(self) -> None:
        self._answer(b"ok")

    def do_POST(self) -> None:
        kind, key = self.path.removeprefix("/"), self.headers.get("Idempotency-Key", "")
        length = int(self.headers.get("Content-Length", "0"))
        if kind not in ("charge", "refund") or not key or length > MAX_BODY_BYTES:
            self.send_error(400)
            return
        demand = msgspec.json.decode(self.rfile.read(length), type=Demand)
        outcome, calls = self.server.book.enter(kind, key, demand)
        if kind == "charge" and calls == 1 and fate.loses_answer(demand.order_id):
            self.close_connection = True
            return
        self._answer(msgspec.json.encode(Verdict(outcome)))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: only its book counts."""


class Provider(HTTPServer):
    """One request at a time, and one connection to its book."""

    def __init__(self, port: int, book: Book) -> None:
        super().__init__(("127.0.0.1", port), Request)
        self.book = book


def connect(path: Path, *, shared: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5, check_same_thread=not shared)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The book, for who looks at it from outside."""
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()


if __name__ == "__main__":
    with closing(Book(Path(os.environ["BOOK"]))) as open_book:
        Provider(int(os.environ["PORT"]), open_book).serve_forever()
