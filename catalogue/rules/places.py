"""Where in a payload a rule applies: the steps that lead there from its top.

A step is written twice: as jsonpath, which finds all values fast, and as JSON, with which SQL finds
the pointer of each. In strict mode the first error would end the path, so each step filters first.
"""

from typing import Any, NamedTuple

from catalogue.rules.jsonpath import every, found, is_type, quoted


class Step(NamedTuple):
    """`further` says how it leads further in; of a condition it is empty."""

    path: str
    further: list[Any]

    @property
    def told(self) -> list[Any]:
        """As outbox.payload_places reads it."""
        return [self.path, *self.further]


Place = tuple[Step, ...]


def member(name: str) -> Step:
    """The member of this name, where there is one."""
    return Step(f" ? ({found(f'@.{quoted(name)}')}).{quoted(name)}", ["member", name])


def members(predicate: str) -> Step:
    """The members to whose names the predicate holds."""
    named = found("@.key", predicate)
    path = f" ? ({is_type('object')}).keyvalue() ? ({named}).value"
    return Step(path, ["members", asked(predicate)])


def item(index: int) -> Step:
    long_enough = every([is_type("array"), f"@.size() > {index}"])
    return Step(f" ? ({long_enough})[{index}]", ["item", index])


def items(first: int) -> Step:
    """All items from this index on."""
    long_enough = every([is_type("array"), f"@.size() > {first}"])
    return Step(f" ? ({long_enough})[{first} to last]", ["items", first])


def where(predicate: str) -> Step:
    """The same value, where the predicate holds."""
    return Step(f" ? ({predicate})", [])


def path(place: Place) -> str:
    """All values there."""
    return "strict $" + "".join(step.path for step in place)


def asked(predicate: str) -> str:
    """A predicate as a jsonpath of its own that is true or false of a value."""
    return f"strict {found('$', predicate)}" if predicate != "1 == 1" else "strict 1 == 1"
