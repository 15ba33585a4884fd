"""YAML as the JSON that it stands for; this needs PyYAML, which is an extra.

PyYAML reads YAML 1.1: there `no` is false, so that a list of countries would lose Norway, a day is
a date, and of a name that comes twice the last one counts. Here a scalar without quotes is what it
would be in JSON, or text.
"""

import re
from decimal import Decimal
from typing import Any

import msgspec
import yaml

NULL, BOOL, NUMBER = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "float"))


class YamlError(ValueError):
    """What is wrong with the text, in a sentence."""


class Loader(yaml.SafeLoader):
    """Takes scalars as YAML 1.2's JSON schema does, and each name once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if not isinstance(name, str):
                raise YamlError(f"line {key.start_mark.line + 1}: {key.value} is no text: quote it")
            if name in names:
                raise YamlError(f"line {key.start_mark.line + 1}: {name} is there twice")
            names.add(name)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> Decimal:
        """As it was written: 1.10 stays 1.10."""
        return Decimal(node.value)


# Those of the class above know YAML 1.1.
Loader.yaml_implicit_resolvers = {}
Loader.add_implicit_resolver(NULL, re.compile(r"^(~|null|)\Z"), ["~", "n", ""])
Loader.add_implicit_resolver(BOOL, re.compile(r"^(true|false)\Z"), ["t", "f"])
Loader.add_implicit_resolver(
    NUMBER,
    re.compile(r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z"),
    list("-0123456789"),
)
Loader.add_constructor(NUMBER, Loader.construct_number)

_encode = msgspec.json.Encoder(decimal_format="number").encode


def to_json(text: bytes) -> bytes:
    """Raises YamlError."""
    try:
        # Its constructor makes nothing but what JSON has.
        return _encode(yaml.load(text, Loader))
    except yaml.MarkedYAMLError as wrong:
        line = f"line {wrong.problem_mark.line + 1}: " if wrong.problem_mark else ""
        raise YamlError(f"{line}{wrong.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as wrong:
        raise YamlError(str(wrong).partition("\n")[0]) from None
    except RecursionError:
        raise YamlError("it is nested too deeply, or holds itself") from None
