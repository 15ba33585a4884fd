"""An OpenAPI 3.1 document, made from operations and their types.

What no annotation can say of a struct, it says itself: its `JSON_SCHEMA` is added to its schema. A
type that msgspec does not know says all of it, in `json_schema()`.
"""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import msgspec

from service.problems import ProblemDetails
from service.web.bodies.shapes import walk
from service.web.operations.operation import Operation
from service.web.operations.query import NoQuery

TEMPLATE = "#/components/schemas/{name}"
KEY = "apiKey"
# The statuses that follow from what an operation takes.
OF_ALL = {503: "The database can't be reached, or is busy; send it again."}
OF_KEYS = {
    401: "No API key, or one that is unknown, revoked or expired.",
    403: "The API key lacks the scope, or is limited to other channels.",
}
OF_IDS = {404: "There is none."}
OF_FIELDS = {422: "It does not fit; `field` says what."}
OF_BODIES = {
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not application/json, or is encoded.",
}

Schema = dict[str, Any]


def document(title: str, operations: Sequence[Operation], key: str) -> Schema:
    """The whole document, ready to be encoded; `key` describes the API keys."""
    shapes = list(dict.fromkeys(_shapes(operations)))
    schemas, components = msgspec.json.schema_components(
        shapes, schema_hook=_own_schema, ref_template=TEMPLATE
    )
    for place in (place for shape in shapes for place in walk(shape)):
        if isinstance(place, msgspec.inspect.StructType) and hasattr(place.cls, "JSON_SCHEMA"):
            components[place.cls.__name__] |= place.cls.JSON_SCHEMA
    by_shape = dict(zip(shapes, schemas, strict=True))
    paths: Schema = {}
    for operation in operations:
        described = _operation(operation, by_shape, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    queries = {operation.query.__name__ for operation in operations if operation.query}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in components.items() if name not in queries},
            "securitySchemes": {KEY: {"type": "http", "scheme": "bearer", "description": key}},
        },
    }


def _shapes(operations: Sequence[Operation]) -> Iterator[Any]:
    yield ProblemDetails
    for operation in operations:
        yield from _arms(operation.body)
        yield from (shape for shape in (operation.answer, operation.query) if shape is not None)


def _arms(shape: Any) -> Sequence[Any]:
    """The structs of a union, which msgspec would need a tag to tell apart."""
    if isinstance(shape, types.UnionType):
        return get_args(shape)
    return () if shape is None else (shape,)


def _own_schema(kind: Any) -> Schema:
    schema: Schema = kind.json_schema()
    return schema


def _operation(operation: Operation, schemas: Mapping[Any, Any], components: Schema) -> Schema:
    first, *rest = getattr(operation.run, "__name__", "").split("_")
    described: Schema = {
        "operationId": first + "".join(map(str.capitalize, rest)),
        "summary": (operation.run.__doc__ or "").partition("\n")[0],
        "tags": [operation.tag],
        "parameters": list(_parameters(operation, components)),
        "responses": _responses(operation, schemas),
    }
    if operation.scopes:
        scopes = " or ".join(f"`{scope}`" for scope in operation.scopes)
        described["description"] = f"Needs a key with the scope {scopes}{operation.needs}."
        described["security"] = [{KEY: []}]
    if arms := [schemas[arm] for arm in _arms(operation.body)]:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": _either(arms)}},
        }
    return described


def _either(arms: list[Any]) -> Any:
    return arms[0] if len(arms) == 1 else {"anyOf": arms}


def _path_names(operation: Operation) -> list[str]:
    return re.findall(r"{(\w+)}", operation.path)


def _parameters(operation: Operation, components: Schema) -> Iterator[Schema]:
    for name in _path_names(operation):
        yield {"name": name, "in": "path", "required": True, "schema": operation.form(name).schema}
    for name, description, schema in operation.request_headers:
        yield {"name": name, "in": "header", "description": description, "schema": schema}
    if operation.query not in (None, NoQuery):
        query = components[operation.query.__name__]
        for name, schema in query["properties"].items():
            needed = {"required": True} if name in query.get("required", ()) else {}
            yield {"name": name, "in": "query", **needed, "schema": _without_null(schema)}


def _without_null(schema: Schema) -> Schema:
    """A parameter is given or it is not; it is never null."""
    given = {key: value for key, value in schema.items() if value is not None}
    if "anyOf" not in given:
        if "enum" in given:
            given["enum"] = [value for value in given["enum"] if value is not None]
        return given
    [only] = [arm for arm in given["anyOf"] if arm != {"type": "null"}]
    return {**{key: value for key, value in given.items() if key != "anyOf"}, **only}


def _responses(operation: Operation, schemas: Mapping[Any, Any]) -> Schema:
    done: Schema = {"description": "Done."}
    if operation.answer is not None:
        done["content"] = {"application/json": {"schema": schemas[operation.answer]}}
    if operation.answer_headers:
        done["headers"] = {
            name: {"schema": {"type": "string"}} for name in operation.answer_headers
        }
    problem = {"application/problem+json": {"schema": schemas[ProblemDetails]}}
    created = {"201": {**done, "description": "Made."}} if operation.creates else {}
    return {
        str(operation.status): done,
        **created,
        **{
            str(status): {"description": description, "content": problem}
            for status, description in sorted(_problems(operation).items())
        },
    }


def _problems(operation: Operation) -> dict[int, str]:
    return {
        **OF_ALL,
        **(OF_KEYS if operation.scopes else {}),
        **(OF_IDS if _path_names(operation) else {}),
        **(OF_FIELDS if operation.query or operation.body else {}),
        **(OF_BODIES if operation.body else {}),
        **operation.problems,
    }
