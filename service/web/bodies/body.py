"""Request bodies: read within bounds, decoded into typed structs, refused by the field's name."""

import ast
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args

import msgspec
import msgspec.inspect
from starlette.requests import ClientDisconnect, Request

from service.problems import MAX_FIELD_LENGTH, Problem, shortened
from service.settings import Settings
from service.web.access.authorization import Caller
from service.web.bodies import lone_surrogates
from service.web.bodies.held_bodies import Bodies
from service.web.bodies.shapes import walk

_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]+)`")
_PATTERN = re.compile(r"^Expected `str` matching regex (?P<regex>['\"].*['\"])$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>[^`]*)`")

# Postgres' text holds every character but NUL.
WITHOUT_NUL = r"^[^\x00]*\Z"
_NUL = r"It holds a NUL character (\u0000), which the database can't store"

T = TypeVar("T")


JSON = "application/json"


async def read(request: Request, max_bytes: int, content_type: str = JSON) -> bytes:
    """The whole body, which must be of this Content-Type.

    Raises Problem: 415 for another type, which a browser sends for any page without asking first
    (Fetch, "no-cors"); 413 as soon as it is too large; 408 if it does not come in time; 503 where
    its sender has too much held; 400 if its sender goes away (that answer is not read; it is for
    the log). What was read counts until the request is answered: see UntilAnswered.
    """
    _require_type(request, content_type)
    settings: Settings = request.state.settings
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    bodies: Bodies = request.state.bodies
    caller: Caller | None = getattr(request.state, "caller", None)
    sender = caller.id if caller else None
    try:
        async with bodies.begin(sender, settings.client_timeout_seconds) as body:
            async for chunk in request.stream():
                bodies.add(body, chunk)
                if len(body.bytes) > max_bytes:
                    raise _too_large(max_bytes)
    except ClientDisconnect:
        raise Problem(400, "The caller went away before the end of the body.") from None
    request.state.body = body
    return body.take()


def _require_type(request: Request, content_type: str) -> None:
    types = request.headers.getlist("content-type")
    if len(types) != 1 or types[0].partition(";")[0].strip().lower() != content_type:
        raise Problem(415, f"Content-Type must be {content_type}.")
    codings = ",".join(request.headers.getlist("content-encoding"))
    if codings.strip().lower() not in ("", "identity"):
        detail = "Content-Encoding must be left out: bodies are taken as they are."
        raise Problem(415, detail, headers={"Accept-Encoding": "identity"})


def decode(shape: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """The body as `shape`; Problem 422 with the path of the field that does not fit."""
    try:
        body.decode()  # msgspec takes strings that it skips as they are, UTF-8 or not
        return shape.decode(body)
    except msgspec.ValidationError as error:
        raise misfit(error, _meant(shape.type, body)) from None
    except UnicodeDecodeError as error:
        raise _no_json(error) from None
    except msgspec.DecodeError as error:
        if (lone := lone_surrogates.find(body)) is None:
            raise _no_json(error) from None
        where = lone.path or f"The body, at byte {lone.offset},"
        detail = rf"{where} holds half a surrogate pair (as \ud800 is), no character."
        raise Problem(422, detail, field=lone.path or None) from None
    except RecursionError:
        raise Problem(422, "The body is nested too deeply.") from None


def _meant(shape: Any, body: bytes) -> Any:
    """Of a union of structs the one that the body names by its tag, if it does."""
    said = None
    if isinstance(shape, UnionType):
        # What does not fit may come before what is no JSON.
        with suppress(msgspec.DecodeError, RecursionError):
            said = msgspec.json.decode(body)
    if isinstance(said, dict):
        for arm in get_args(shape):
            config = arm.__struct_config__
            if config.tag is not None and said.get(config.tag_field) == config.tag:
                return arm
    return shape


def _no_json(error: Exception) -> Problem:
    return Problem(422, f"The body is not JSON in UTF-8: {error}.")


def misfit(error: msgspec.ValidationError, shape: Any) -> Problem:
    """422 with the path of the field that does not fit `shape` (`[3].groupKey`).

    A regular expression says little to whom it refuses: it is told by its description.
    """
    message = str(error)
    path = match["path"] if (match := _PATH.search(message)) else ""
    reason = _PATH.sub("", message)
    if named := _MISSING.match(reason):
        path = f"{path}.{named['name']}" if path else named["name"]
        reason = "It is required"
    elif named := _UNKNOWN.match(reason):
        reason = f"There is no such field; known are {', '.join(sorted(_names(shape, path)))}"
        path = f"{path}.{named['name']}" if path else named["name"]
    if pattern := _PATTERN.match(reason):
        regex = ast.literal_eval(pattern["regex"])
        reason = _NUL if regex == WITHOUT_NUL else _meanings(shape).get(regex, reason)
    path, reason = (shortened(text, MAX_FIELD_LENGTH) for text in (path, reason))
    return Problem(422, f"{path or 'The body'} does not fit: {reason}.", field=path or None)


@cache
def _meanings(shape: Any) -> dict[str, str]:
    """Of each pattern in `shape`, the sentence that describes it."""
    found: dict[str, str] = {}
    for place in walk(shape):
        if isinstance(place, msgspec.inspect.Metadata):
            description = (place.extra_json_schema or {}).get("description")
            if isinstance(place.type, msgspec.inspect.StrType) and place.type.pattern:
                found[place.type.pattern] = str(description or place.type.pattern).rstrip(".")
    return found


def _names(shape: Any, path: str) -> list[str]:
    """The fields that an object at this path of `shape` may have."""
    places = [msgspec.inspect.type_info(shape)]
    for step in re.findall(r"[^.\[\]]+", path):
        places = [inner for place in places for inner in _below(place, step)]
    return [
        field.encode_name
        for place in places
        for struct in _arms(place)
        if isinstance(struct, msgspec.inspect.StructType)
        for field in struct.fields
    ]


def _below(place: msgspec.inspect.Type, step: str) -> list[msgspec.inspect.Type]:
    found = []
    for arm in _arms(place):
        if isinstance(arm, msgspec.inspect.StructType):
            found += [field.type for field in arm.fields if field.encode_name == step]
        elif isinstance(arm, msgspec.inspect.ListType):
            found.append(arm.item_type)
    return found


def _arms(place: msgspec.inspect.Type) -> Sequence[msgspec.inspect.Type]:
    if isinstance(place, msgspec.inspect.Metadata):
        return _arms(place.type)
    return place.types if isinstance(place, msgspec.inspect.UnionType) else (place,)


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, f"The body is larger than {max_bytes} bytes.", maxBytes=max_bytes)
