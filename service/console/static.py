"""The files that pages are drawn with: a stylesheet, an icon, a script; read once."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.console.security import HEADERS
from service.problems import Problem

PATH = "/console/static/{name}"
FOLDER = Path(__file__).with_name("static")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
# What a page names has another address when it changes, so that browsers keep it.
ADDRESSES = {
    name: f"{PATH.format(name=name)}?{hashlib.sha256(content).hexdigest()[:16]}"
    for name, content in FILES.items()
}
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


async def show_file(request: Request) -> Response:
    """GET /console/static/{name}: to everybody; there is nothing of the platform in it."""
    name = request.path_params["name"]
    if name not in FILES:
        raise Problem(404, "Not Found")
    kept = KEPT if f"{PATH.format(name=name)}?{request.url.query}" == ADDRESSES[name] else {}
    return Response(FILES[name], headers={**HEADERS, **kept}, media_type=TYPES[Path(name).suffix])
