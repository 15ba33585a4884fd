"""The platform's part of the OpenAPI document, made from its operations and their types."""

from collections.abc import Sequence
from typing import Any

import msgspec

from service.platform.messages import idempotency
from service.web.operation import NoQuery, Operation

TEMPLATE = "#/components/schemas/{name}"
PROBLEM = {"$ref": TEMPLATE.format(name="ProblemDetails")}
SECURITY_SCHEMES = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key made by `outbox-service keys create`; its scopes are some of "
        "publish, manage, operate and read. One that is limited to channels publishes there alone, "
        "and to it there are no subscriptions but those that read nothing else.",
    }
}
DESCRIPTIONS = {
    401: "No API key, or one that is unknown, revoked or expired.",
    403: "The API key lacks the scope, or is limited to other channels.",
    404: "There is none.",
    408: "The body did not come in time.",
    409: "It stands against what is there already.",
    413: "The body is too large.",
    415: "The body is not application/json, or is encoded.",
    422: "It does not fit; `field` says what.",
    503: "The database can't be reached, or is busy; send it again.",
}
REQUEST_HEADERS = {
    idempotency.HEADER: {
        "description": "The same key and body within 24 hours get the first answer again and "
        "have no second effect; the same key with another body gets 409. Per API key.",
        "schema": {"type": "string", "pattern": idempotency.KEY},
    }
}
# What the types can't say: one of two, and no further.
RULES: dict[str, dict[str, Any]] = {
    "ReplayForm": {"oneOf": [{"required": ["from"]}, {"required": ["fromMessageId"]}]},
    "Redrive": {
        "oneOf": [
            {"required": ["ids"], "maxProperties": 1},
            {"required": ["subscriptionId"], "properties": {"ids": False}},
        ]
    },
    "Retry": {
        "not": {
            "required": ["schedule"],
            "anyOf": [
                {"required": [name]}
                for name in ("initialDelay", "multiplier", "maxDelay", "maxAttempts")
            ],
        }
    },
}


def paths(operations: Sequence[Operation]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document's paths, and the schemas that they refer to."""
    types = list(dict.fromkeys(_types(operations)))
    schemas, components = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    by_type = dict(zip(types, schemas, strict=True))
    described: dict[str, Any] = {}
    for operation in operations:
        described.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, by_type, components
        )
    for name, rule in RULES.items():
        components[name] |= rule
    queries = {operation.query.__name__ for operation in operations}
    kept = {name: schema for name, schema in components.items() if name not in queries}
    return described, kept


def _types(operations: Sequence[Operation]) -> list[Any]:
    return [
        shape
        for operation in operations
        for shape in (operation.body, operation.answer, operation.query)
        if shape is not None
    ]


def _operation(
    operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    name = getattr(operation.run, "__name__", "")
    first, *rest = name.split("_")
    described: dict[str, Any] = {
        "operationId": first + "".join(map(str.capitalize, rest)),
        "summary": (operation.run.__doc__ or "").partition("\n")[0],
        "description": _needs(operation),
        "tags": [operation.path.split("/")[2]],
        "security": [{"apiKey": []}],
        "parameters": _parameters(operation, components),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schemas[operation.body]}},
        }
    return described


def _needs(operation: Operation) -> str:
    needs = f"Needs a key with the scope `{operation.scope}`"
    if operation.kafka_scope is not None:
        needs += f", or `{operation.kafka_scope}` where the subscription is of kind kafka"
    return f"{needs}."


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in operation.path:
        schema = {"type": "string", "pattern": "^[0-9]{1,18}$"}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema})
    parameters.extend(
        {"name": name, "in": "header", **REQUEST_HEADERS[name]}
        for name in operation.request_headers
    )
    if operation.query is not NoQuery:
        properties = components[operation.query.__name__]["properties"]
        parameters.extend(
            {"name": name, "in": "query", "schema": _without_null(schema)}
            for name, schema in properties.items()
        )
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is given or it is not; it is never null."""
    given = {key: value for key, value in schema.items() if value is not None}
    if "anyOf" not in given:
        if "enum" in given:
            given["enum"] = [value for value in given["enum"] if value is not None]
        return given
    [only] = [arm for arm in given["anyOf"] if arm != {"type": "null"}]
    return {**{key: value for key, value in given.items() if key != "anyOf"}, **only}


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        done["content"] = {"application/json": {"schema": schemas[operation.answer]}}
    if operation.status == 201 and operation.path.endswith("subscriptions"):
        done["headers"] = {"Location": {"schema": {"type": "string"}}}
    problems = {401, 403, 422, 503, *operation.problems}
    if "{id}" in operation.path:
        problems.add(404)
    if operation.body is not None:
        problems |= {408, 413, 415}
    return {
        str(operation.status): done,
        **{
            str(status): {
                "description": DESCRIPTIONS[status],
                "content": {"application/problem+json": {"schema": PROBLEM}},
            }
            for status in sorted(problems)
        },
    }
