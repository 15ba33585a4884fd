"""Event types as files of a repository: one type in each, as JSON or YAML."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from catalogue.compatibility import Compatibility

SUFFIXES = (".json", ".yaml", ".yml")
EXTRA = "reading YAML takes an extra: pip install 'outbox-relay[yaml]'"


class Deprecation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which day on a type is deprecated, and the type to publish and read instead."""

    date: datetime.date
    successor: str | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type as it is to be; what is left out is the default. The database knows the rest."""

    type: str
    description: str = ""
    owner: str = ""
    channels: list[str]
    enforcement: Literal["off", "report", "refuse"] = "refuse"
    compatibility: Compatibility = "full"
    deprecation: Deprecation | None = None
    schema: Raw
    example: Raw | UnsetType = UNSET

    @property
    def example_text(self) -> str | None:
        """The example as JSON; None: there is none."""
        return None if self.example is UNSET else bytes(self.example).decode()


class CatalogueError(Exception):
    """What is wrong with event types or their files, a sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def read(directory: Path) -> dict[str, Definition]:
    """The definitions of a directory and of those below it, by their files; by type in order.

    Raises CatalogueError with every fault at once.
    """
    if not directory.is_dir():
        raise CatalogueError([f"{directory} is no directory"])
    found: dict[str, Definition] = {}
    faults: list[str] = []
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        try:
            definition = _definition(path)
        except (ValueError, OSError) as wrong:
            faults.append(f"{path}: {wrong}")
            continue
        twice = [other for other, one in found.items() if one.type == definition.type]
        if twice:
            faults.append(f"{path}: {twice[0]} defines {definition.type} as well")
            continue
        found[str(path)] = definition
    if faults:
        raise CatalogueError(faults)
    return dict(sorted(found.items(), key=lambda one: one[1].type))


_decode = msgspec.json.Decoder(Definition).decode


def _definition(path: Path) -> Definition:
    """Raises ValueError with what is wrong with the file."""
    text = path.read_bytes()
    if path.suffix.lower() != ".json":
        text = _from_yaml(text)
    try:
        # msgspec takes strings that it skips as they are, UTF-8 or not.
        text.decode()
        return _decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _from_yaml(text: bytes) -> bytes:
    try:
        from relay.operate.yaml_json import to_json
    except ImportError:
        raise ValueError(EXTRA) from None
    return to_json(text)


def write(directory: Path, definitions: Sequence[Definition]) -> int:
    """Writes each to TYPE.json, schema and example as they are but for blanks; other files stay.

    Returns how many were not there so yet.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = 0
    for definition in definitions:
        path = directory / f"{definition.type}.json"
        text = msgspec.json.format(msgspec.json.encode(definition), indent=2) + b"\n"
        if not path.is_file() or path.read_bytes() != text:
            path.write_bytes(text)
            written += 1
    return written
