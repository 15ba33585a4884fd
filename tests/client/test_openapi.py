"""The client has what the OpenAPI document has, in both directions: nothing is missing or more."""

import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
from msgspec import NODEFAULT, UNSET, UnsetType

from outbox_client import Outbox, problems
from outbox_client.operation import Description, Listing
from service import openapi

Schema = Mapping[str, Any]
# What is known of a place: ("config.retry.schedule[]", "number"), ("name", "required").
Facts = set[tuple[str, str]]
ANY = "any"

DOCUMENT = json.loads(openapi.encoded(payments=True)[0])
COMPONENTS = DOCUMENT["components"]["schemas"]
# Payments are a first user of the platform, for a trusted network: they ask for no key.
DESCRIBED = {
    (method.upper(), path): described
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
    if "security" in described
}
METHODS = {
    (one.method, one.path): one
    for resource in vars(Outbox("http://127.0.0.1:1", "key")).values()
    for one in vars(type(resource)).values()
    if isinstance(one, Description)
}
BOTH = sorted(DESCRIBED.keys() & METHODS.keys())


def facts(schema: Schema, components: Schema, place: str = "", tagged: bool = False) -> Facts:
    """What a schema says of types, names, defaults and of what is required; no bound, no pattern.

    `tagged`: what the arms of a union say is told apart by their tags.
    """
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema or "const" in schema:
        return {(place, json.dumps(one)) for one in schema.get("enum", [schema.get("const")])}
    if "anyOf" in schema and "properties" not in schema:
        arms = [facts(arm, components, place, tagged) for arm in schema["anyOf"]]
        # Null is something too.
        return {(place, ANY)} if {(place, ANY)} in arms else set().union(*arms)
    kinds = schema.get("type", ANY)
    found: Facts = set()
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "object":
            found |= {(place, kind), *_members(schema, components, place, tagged)}
        elif kind == "array":
            found |= {(place, kind)} | facts(schema["items"], components, f"{place}[]", tagged)
        else:
            details = (schema.get("format"), schema.get("contentEncoding"))
            found.add((place, " ".join(filter(None, (kind, *details)))))
    return found


def _members(
    schema: Schema, components: Schema, place: str, tagged: bool
) -> Iterator[tuple[str, str]]:
    members = schema.get("properties", {})
    if tagged and "enum" in members.get("type", {}) and len(members["type"]["enum"]) == 1:
        place += f"<{members['type']['enum'][0]}>"
    for name, member in members.items():
        below = f"{place}.{name}".lstrip(".")
        yield from facts(member, components, below, tagged)
        if name in schema.get("required", ()):
            yield below, "required"
        if "default" in member:
            yield below, f"default {json.dumps(member['default'])}"
    if values := schema.get("additionalProperties"):
        yield from facts(values, components, f"{place}{{}}", tagged)


def facts_of_type(kind: Any, place: str = "", *, tagged: bool = False) -> Facts:
    """The same of a type."""
    [schema], components = msgspec.json.schema_components([kind])
    return facts(schema, components, place, tagged)


def facts_of_shape(shape: type[msgspec.Struct]) -> Facts:
    """The same of keywords: a union of structs is more than msgspec would read, but can write."""
    found: Facts = {("", "object")}
    for field in msgspec.structs.fields(shape):
        for arm in _arms(field.type):
            found |= facts_of_type(arm, field.encode_name)
        if field.required:
            found.add((field.encode_name, "required"))
        elif field.default not in (UNSET, NODEFAULT):
            found.add((field.encode_name, f"default {json.dumps(field.default)}"))
    return found


def _arms(kind: Any) -> Sequence[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        return [one for one in get_args(kind) if one is not UnsetType]
    return [kind]


def parameters(described: Schema, where: str) -> dict[str, Schema]:
    return {one["name"]: one["schema"] for one in described["parameters"] if one["in"] == where}


def test_every_operation_with_a_key_has_a_method_and_every_method_an_operation() -> None:
    assert METHODS.keys() == DESCRIBED.keys()


@pytest.mark.parametrize("operation", BOTH, ids=" ".join)
def test_a_methods_keywords_are_what_the_document_says_of_path_header_and_query(
    operation: tuple[str, str],
) -> None:
    method, described = METHODS[operation], DESCRIBED[operation]
    assert set(method.names_in_path) == parameters(described, "path").keys()
    assert method.takes_key == ("Idempotency-Key" in parameters(described, "header"))
    query = {
        "type": "object",
        "properties": parameters(described, "query"),
        "required": [one["name"] for one in described["parameters"] if one.get("required")],
    }
    # A parameter that is not given is left out.
    absent = {"null", "default null"}
    ours = {fact for fact in facts_of_shape(method.shape) if fact[1] not in absent}
    if operation[0] in ("GET", "DELETE"):
        assert ours == facts(query, COMPONENTS)
    else:
        assert query["properties"] == {}
    assert isinstance(method, Listing) == ("cursor" in query["properties"])


@pytest.mark.parametrize("operation", BOTH, ids=" ".join)
def test_a_methods_keywords_are_what_the_document_says_of_the_body(
    operation: tuple[str, str],
) -> None:
    method, described = METHODS[operation], DESCRIBED[operation]
    if "requestBody" not in described:
        assert method.body is None
        assert operation[0] in ("GET", "DELETE") or method.shape.__struct_fields__ == ()
        return
    body = facts(described["requestBody"]["content"]["application/json"]["schema"], COMPONENTS)
    if method.body is not None:
        assert facts_of_type(method.signature.parameters[method.body].annotation) == body
        return
    # One type for what is said at first and what is changed, where less is required.
    theirs = {one for one in body if not (one[0].startswith("config.") and one[1] == "required")}
    assert facts_of_shape(method.shape) == theirs


@pytest.mark.parametrize("operation", BOTH, ids=" ".join)
def test_a_method_returns_what_the_document_says(operation: tuple[str, str]) -> None:
    answer = METHODS[operation].signature.return_annotation
    done = [one for status, one in DESCRIBED[operation]["responses"].items() if status < "3"]
    for content in (one.get("content") for one in done):
        if content is None:
            assert answer is None
        else:
            theirs = facts(content["application/json"]["schema"], COMPONENTS, tagged=True)
            assert facts_of_type(answer, tagged=True) == theirs


def test_a_problem_has_the_fields_that_the_document_says() -> None:
    theirs = facts(COMPONENTS["ProblemDetails"], COMPONENTS)
    assert facts_of_type(problems.ProblemDetails) == theirs
