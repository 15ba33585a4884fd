"""The routes of a table of operations."""

from collections.abc import Sequence
from typing import ClassVar

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.web.operations.operation import Operation


def routes(operations: Sequence[Operation]) -> list[Route]:
    """One route a path, so that a method that it does not have is a 405 that names those it has.

    Paths that are written out come before those with an id in the same place.
    """
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _endpoint(by_path[path])) for path in sorted(by_path, key=_has_id)]


def _has_id(path: str) -> bool:
    return "{" in path


def _endpoint(methods: dict[str, Operation]) -> type[HTTPEndpoint]:
    class Endpoint(HTTPEndpoint):
        operations: ClassVar = methods

        async def answer(self, request: Request) -> Response:
            # HEAD is a GET whose body the server leaves out.
            method = "GET" if request.method == "HEAD" else request.method
            return await self.operations[method](request)

    for method in methods:
        setattr(Endpoint, method.lower(), Endpoint.answer)
    return Endpoint
