"""One version of a schema: what its writers may write, and what its readers take."""

from functools import cached_property

from catalogue.closing import close
from catalogue.compatibility.place import Document, Place, Schema, Side

_BESIDE = ("allOf", "$defs")


class Version:
    """`schema` as it is registered."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @cached_property
    def reader(self) -> Place:
        return Document(self.schema).root(Side.READER)

    @cached_property
    def writer(self) -> Place:
        """Closed. Raises SchemaFault where it would be too large so."""
        closed = close(self.schema if isinstance(self.schema, bool) else dict(self.schema))
        return Document(closed).root(Side.AS_WRITTEN)

    def written(self, pointer: str) -> str:
        """Where in the registered schema it is that a pointer into the closed one names.

        What closes it may stand beside it, as one more of `allOf` or `$defs`.
        """
        found: object = self.schema
        tokens = pointer.split("/")[1:]
        for index, token in enumerate(tokens):
            found = _inner(found, token)
            if found is None:
                begin = index if token in _BESIDE else index - 1
                is_name = tokens[begin - 1 : begin] == ["properties"]
                if begin < 0 or tokens[begin] not in _BESIDE or is_name:
                    return pointer
                return self.written(
                    "".join(f"/{one}" for one in tokens[:begin] + tokens[begin + 2 :])
                )
        return pointer


def _inner(schema: object, token: str) -> object:
    """What stands there, None where nothing does."""
    if isinstance(schema, dict):
        return schema.get(token.replace("~1", "/").replace("~0", "~"))
    if isinstance(schema, list) and token.isdecimal() and int(token) < len(schema):
        return schema[int(token)]
    return None
