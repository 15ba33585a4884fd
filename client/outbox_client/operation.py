"""An operation of the API, described once, for callers that wait and for those that await.

A method of a resource has no body: its signature is the description. Names in the path are the
path's, `request_key` is the header Idempotency-Key, and all others are the query's of a GET or a
DELETE, else the body's. What it is annotated to return is what the answer is read into.

    class Subscriptions(Resource[Via]):
        @operation("POST", "/v1/subscriptions/{id}/pause", repeatable=True)
        def pause(self, id: str) -> Subscription: ...

`Subscriptions[Transport]` has `pause(id: str) -> Subscription`, and `Subscriptions[AsyncTransport]`
has the same as a coroutine. Type checkers see both, keyword for keyword.
"""

import inspect
import re
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

import msgspec

from outbox_client.pages import AsyncPages, Page, Pages
from outbox_client.request import Request
from outbox_client.shape import wire_name
from outbox_client.transport import AsyncTransport, Transport

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
Via = TypeVar("Via", Transport, AsyncTransport)

REQUEST_KEY = "request_key"
WITH_QUERY = frozenset({"GET", "DELETE"})
# Sent again they leave things as they were after the first time (RFC 9110, 9.2.2). PATCH is a merge
# patch here (RFC 7396), for which that holds too.
REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class Resource(Generic[Via]):
    """A noun of the API, with its operations."""

    def __init__(self, transport: Via) -> None:
        self._transport: Via = transport


class Description(Generic[P, Answer]):
    """What a method's signature says of its request.

    `body` names the one argument that is the whole body. `repeatable`: an operation that has no
    second effect though its method does not say so. One with a request key never has.
    """

    def __init__(
        self,
        method: str,
        path: str,
        described: Callable[Concatenate[Any, P], Answer],
        *,
        repeatable: bool = False,
        timeout_seconds: float | None = None,
        body: str | None = None,
    ) -> None:
        self.__doc__ = described.__doc__
        self.name = described.__name__
        self.method = method
        self.path = path
        self.body = body
        self._timeout_seconds = timeout_seconds
        _, *parameters = inspect.signature(described).parameters.values()
        self.signature = inspect.signature(described).replace(parameters=parameters)
        self.names_in_path = re.findall(r"{(\w+)}", path)
        self.takes_key = REQUEST_KEY in self.signature.parameters
        self.repeatable = repeatable or self.takes_key or method in REPEATABLE
        elsewhere = {*self.names_in_path, REQUEST_KEY, body}
        said = [one for one in parameters if one.name not in elsewhere]
        self.shape = msgspec.defstruct(
            described.__qualname__.replace(".", ""),
            [_field(one) for one in said],
            frozen=True,
            kw_only=True,
            omit_defaults=True,
            rename=wire_name,
        )

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request[Answer]:
        """The request of one call. Raises TypeError for arguments that are not the signature's."""
        given = self.signature.bind(*args, **kwargs).arguments
        path = {name: quote(str(given.pop(name)), safe="") for name in self.names_in_path}
        key = _key(given.pop(REQUEST_KEY, None)) if self.takes_key else None
        query, content = {}, None
        if self.body is not None:
            content = msgspec.json.encode(given[self.body])
        elif self.method in WITH_QUERY:
            query = msgspec.to_builtins(self.shape(**given))
        elif self.shape.__struct_fields__:
            content = msgspec.json.encode(self.shape(**given))
        return Request(
            method=self.method,
            path=self.path.format_map(path),
            decode=self._decode,
            repeatable=self.repeatable,
            query=query,
            content=content,
            key=key,
            timeout_seconds=self._timeout_seconds,
        )

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        answer = self.signature.return_annotation
        return _nothing if answer is None else msgspec.json.Decoder(answer).decode


class Operation(Description[P, Answer]):
    """One request, one answer."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Transport], owner: type) -> Callable[P, Answer]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncTransport], owner: type
    ) -> Callable[P, Coroutine[Any, Any, Answer]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        return _bound(self, lambda request: resource._transport.send(request))


class Listing(Description[P, Page[Item]], Generic[P, Item]):
    """A list, of which each page is a request."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Transport], owner: type) -> Callable[P, Pages[Item]]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncTransport], owner: type
    ) -> Callable[P, AsyncPages[Item]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        transport = resource._transport
        pages: Any = AsyncPages if isinstance(transport, AsyncTransport) else Pages
        return _bound(self, lambda request: pages(transport, request))


def operation(
    method: str,
    path: str,
    *,
    repeatable: bool = False,
    timeout_seconds: float | None = None,
    body: str | None = None,
) -> Callable[[Callable[Concatenate[Any, P], Answer]], Operation[P, Answer]]:
    """Makes an operation of a method of a resource."""

    def made(described: Callable[Concatenate[Any, P], Answer]) -> Operation[P, Answer]:
        return Operation(
            method,
            path,
            described,
            repeatable=repeatable,
            timeout_seconds=timeout_seconds,
            body=body,
        )

    return made


def listing(
    path: str,
) -> Callable[[Callable[Concatenate[Any, P], Page[Item]]], Listing[P, Item]]:
    """Makes a list of a method of a resource."""

    def made(described: Callable[Concatenate[Any, P], Page[Item]]) -> Listing[P, Item]:
        return Listing("GET", path, described)

    return made


def _bound(description: Description[P, Any], send: Callable[[Request[Any]], Any]) -> Any:
    """The method of an instance, which `help` and `inspect` show as it is described."""

    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        return send(description.request(*args, **kwargs))

    call.__name__, call.__doc__ = description.name, description.__doc__
    call.__signature__ = description.signature  # type: ignore[attr-defined]
    return call


def _field(parameter: inspect.Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name, parameter.annotation
    return parameter.name, parameter.annotation, parameter.default


def _key(given: str | None) -> str:
    """A publish's Idempotency-Key. Raises ValueError for one that the API does not take."""
    if given is None:
        return uuid4().hex
    if not re.fullmatch("[!-~]{1,255}", given):
        raise ValueError(
            f"{REQUEST_KEY} must be 1 to 255 printable ASCII characters without spaces"
        )
    return given


def _nothing(_: bytes) -> None:
    """An answer without content."""
