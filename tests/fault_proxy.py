"""Stands before a server of SQS: drops entries, refuses requests, loses answers."""

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

Entry = dict[str, Any]

SEND = "AmazonSQS.SendMessageBatch"
LOOK = "AmazonSQS.GetQueueAttributes"


class Refusal(NamedTuple):
    """What SQS answers in place of doing it: of an entry, or with a status of a whole request."""

    code: str
    sender_fault: bool = False
    status: int = 400
    text: str = "no"


DROPPED = Refusal("InternalError")


class Request(NamedTuple):
    """One that came: its action, its body, and who signed it."""

    action: str
    body: dict[str, Any]
    authorization: str

    @property
    def bodies(self) -> list[str]:
        return [entry["MessageBody"] for entry in self.body.get("Entries", ())]


class FaultProxy(ThreadingHTTPServer):
    """A context manager. `drop` says which entries fail, `refuse` which requests, and of which
    the answer is lost once the server has done it `lose` says; `before` is called first.
    """

    daemon_threads = True
    # Of many at once.
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = port
        self.drop: Callable[[Entry], Refusal | None] = lambda _: None
        self.refuse: Callable[[Request], Refusal | None] = lambda _: None
        self.lose: Callable[[Request], bool] = lambda _: False
        # What is said in place of what the server said to an action.
        self.rewrite: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _, said: said
        self.before: Callable[[Request], object] = lambda _: None
        self.requests: list[Request] = []

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    @property
    def batches(self) -> list[Request]:
        """The requests that send."""
        return [one for one in self.requests if one.action == SEND]

    def handle_error(self, *_: object) -> None:
        """A client that is killed goes without a word."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.1], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection's requests."""

    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        action = self.headers.get("x-amz-target", "")
        request = Request(action, json.loads(raw), self.headers.get("authorization", ""))
        self.server.requests.append(request)
        self.server.before(request)
        refusal = self.server.refuse(request)
        if refusal is not None:
            said = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": refusal.text}
            self._answer(refusal.status, json.dumps(said).encode())
            return
        status, answer = self._forward(raw, request)
        if self.server.lose(request):
            self.close_connection = True
            return
        if status == 200 and answer:
            answer = json.dumps(self.server.rewrite(request.action, json.loads(answer))).encode()
        self._answer(status, answer)

    def _forward(self, raw: bytes, request: Request) -> tuple[int, bytes]:
        """Without the entries that are dropped, which are reported as failed."""
        entries = request.body.get("Entries")
        if request.action != SEND or entries is None:
            return self._ask(raw)
        refused = [(one, why) for one in entries if (why := self.server.drop(one)) is not None]
        kept = [one for one in entries if not any(one is other for other, _ in refused)]
        status, said = 200, dict[str, Any]()
        if kept:
            status, answer = self._ask(json.dumps(request.body | {"Entries": kept}).encode())
            if status != 200:
                return status, answer
            said = json.loads(answer)
        failed = [
            {
                "Id": one["Id"],
                "Code": refusal.code,
                "SenderFault": refusal.sender_fault,
                "Message": refusal.text,
            }
            for one, refusal in refused
        ]
        said["Failed"] = [*(said.get("Failed") or ()), *failed]
        return status, json.dumps(said).encode()

    def _ask(self, raw: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=30)
        try:
            headers = {
                "content-type": self.headers["content-type"],
                "x-amz-target": self.headers["x-amz-target"],
            }
            connection.request("POST", "/", raw, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The test's own words say more."""
