"""The parameters behind a URL's question mark, decoded into a typed struct."""

from collections.abc import Collection
from datetime import datetime
from typing import TypeVar

import msgspec
from starlette.requests import Request

from service.problems import Problem
from service.web.bodies.body import misfit

Query = TypeVar("Query")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of operations that take no parameters."""


def read(
    request: Request,
    shape: type[Query],
    *,
    leave_out: Collection[str] = (),
    empty_is_none: bool = False,
) -> Query:
    """The parameters as `shape`; Problem 422 naming the one that does not fit.

    `leave_out` are not the operation's. `empty_is_none`: as forms of pages send what is not given.
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in leave_out or (empty_is_none and not value):
            continue
        if name in given:
            raise Problem(422, f"{name} is given twice.", field=name)
        given[name] = value
    try:
        query = msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise misfit(error, shape) from None
    for name in given:
        # msgspec reads the text `null` as None: a filter would be dropped silently.
        if msgspec.to_builtins(query, builtin_types=(datetime,))[name] is None:
            raise Problem(422, f"{name} can't be null; leave it out.", field=name)
    return query
