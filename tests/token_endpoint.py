"""An OpenID provider as far as a client with credentials of its own sees it: its token endpoint.

Its tokens are not signed; Kafka's unsecured login module takes them.
"""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class TokenEndpoint(ThreadingHTTPServer):
    """On loopback; a context manager. `expires_at` is that of the latest token, in Unix time."""

    daemon_threads = True

    def __init__(self, lifetime_seconds: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.lifetime_seconds = lifetime_seconds
        self.expires_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"

    def token(self) -> str:
        now = time.time()
        self.expires_at = now + self.lifetime_seconds
        claims = {"sub": "relay", "iat": now, "exp": self.expires_at}
        return f"{_part({'alg': 'none'})}.{_part(claims)}."

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        seconds = self.server.lifetime_seconds
        grant = {"access_token": self.server.token(), "token_type": "bearer", "expires_in": seconds}
        body = json.dumps(grant).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
