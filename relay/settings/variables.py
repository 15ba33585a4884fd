"""The RELAY_* variables: each sets the field of the settings that has its name."""

from collections.abc import Mapping
from typing import Any

import msgspec

# Fields that no RELAY_* variable sets.
_OTHERS = frozenset({"database_url", "kafka", "secret_keys", "credentials", "ignored"})
# What may hold a password.
_UNSHOWN = frozenset({"push_proxy"})


def described_fields(settings: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The RELAY_* variables and the field that each one sets."""
    fields = msgspec.structs.fields(settings)
    return {f"RELAY_{one.name.upper()}": one for one in fields if one.name not in _OTHERS}


def description(field: msgspec.structs.FieldInfo) -> str:
    """What fits a field, as its type says it."""
    schema = msgspec.json.schema(field.type)
    text: str = schema.get("description") or schema["anyOf"][0]["description"]
    return text


def read(
    settings: type[msgspec.Struct], relay: Mapping[str, str], faults: list[str]
) -> dict[str, Any]:
    """The fields' values; adds a sentence to `faults` for each mistake."""
    fields = described_fields(settings)
    values: dict[str, Any] = {}
    for name, text in relay.items():
        field = fields.get(name)
        if field is None:
            known = ", ".join(sorted(fields))
            faults.append(f"{name} is no setting of the relay: unset it, or use one of {known}")
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError:
            shown = "" if field.name in _UNSHOWN else f"={text[:100]!r}"
            faults.append(f"{name}{shown} does not fit: {description(field)}")
    return values
