"""An endpoint to try subscriptions with: prints every webhook that comes, and whether it is signed.

python -m local.endpoint --secret whsec_…         # answers 200
python -m local.endpoint --refuse order.paid      # answers 422 to messages of that type
"""

import argparse
import base64
import hashlib
import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9000


class Endpoint(ThreadingHTTPServer):
    """Listens on the loopback until it is interrupted. `keys` are decoded secrets."""

    def __init__(self, port: int, keys: list[bytes], refused: list[str]) -> None:
        super().__init__(("127.0.0.1", port), Webhook)
        self.keys = keys
        self.refused = refused


class Webhook(BaseHTTPRequestHandler):
    """One connection's requests."""

    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        kind = self.headers.get("ce-type", "")
        status = 422 if kind in self.server.refused else 200
        signed = "signed" if self._is_signed(body) else "NOT SIGNED BY THAT SECRET"
        if not self.server.keys:
            signed = "signature not checked"
        replayed = "  replayed" if self.headers.get("replayed") else ""
        key = self.headers.get("webhook-id")
        text = body.decode(errors="replace")[:300]
        # In one piece: each connection has a thread of its own.
        sys.stdout.write(f"{status}  {kind}  {key}  {signed}{replayed}  {text}\n")
        sys.stdout.flush()
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def _is_signed(self, body: bytes) -> bool:
        """Standard Webhooks: base64 of the HMAC-SHA256 of `id.timestamp.body`."""
        about = f"{self.headers.get('webhook-id')}.{self.headers.get('webhook-timestamp')}."
        given = self.headers.get("webhook-signature", "").split()
        for key in self.server.keys:
            digest = hmac.digest(key, about.encode() + body, hashlib.sha256)
            expected = "v1," + base64.b64encode(digest).decode()
            if any(hmac.compare_digest(expected, one) for one in given):
                return True
        return False

    def log_message(self, format: str, *args: object) -> None:
        """Its own line per request says more."""


def main() -> int:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m local.endpoint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT} by default")
    parser.add_argument("--secret", action="append", default=[], help="what subscribing returned")
    parser.add_argument("--refuse", action="append", default=[], metavar="TYPE")
    arguments = parser.parse_args()
    keys = [base64.b64decode(one.removeprefix("whsec_")) for one in arguments.secret]
    with Endpoint(arguments.port, keys, arguments.refuse) as endpoint:
        print(f"http://127.0.0.1:{arguments.port}/ listens", flush=True)
        try:
            endpoint.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
