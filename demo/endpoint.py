"""An HTTP server of one of the demo's processes: where it listens, and how much it reads."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

MAX_BODY_BYTES = 1_048_576
# Longer than the relay keeps a connection that it doesn't use: never closed in its face.
KEEP_ALIVE_SECONDS = 60


def listen(app: Starlette) -> None:
    """Serves on PORT of this machine until it is ended."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


async def bounded_body(request: Request) -> bytes | None:
    """What was posted; None where it is more than any message."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
