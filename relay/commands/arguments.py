"""What commands take on the command line, and how each explains itself."""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from relay.process.utf8 import utf8

SURROGATE = re.compile("[\ud800-\udfff]")

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def words(written: Sequence[str]) -> list[str]:
    """The arguments as text. Raises ValueError naming the one that is not UTF-8."""
    read = []
    for number, word in enumerate(written, 1):
        try:
            read.append(utf8(word))
        except ValueError:
            raise ValueError(f"argument {number} is not UTF-8: {word!r}") from None
    return read


def command(
    subparsers: Subparsers, name: str, does: str, *examples: str
) -> argparse.ArgumentParser:
    """A command that explains itself: what it does, and how one calls it."""
    return subparsers.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog="\n  ".join(["examples:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _between(text: str, lowest: int, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or not lowest <= int(text[:20]) <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {lowest} to {highest}")
    return int(text)


def limit(text: str) -> int:
    """How many rows at most."""
    return _between(text, 1, 100_000)


def identity(text: str) -> int:
    """The id of a message or dead letter."""
    return _between(text, 1, 2**63 - 1)


def time(text: str) -> datetime:
    """ISO 8601 with an offset: a time without one means another moment on another machine."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-03-01T09:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no offset: write {moment.isoformat()}Z for UTC"
        )
    return moment


def shards(text: str) -> int:
    """In how many parts relays may work at once."""
    return _between(text, 1, 64)


def priority(text: str) -> int:
    """Of messages: 1 is the highest."""
    return _between(text, 1, 5)


def json_object(text: str) -> dict[str, object]:
    """A JSON object that the database can store."""
    try:
        given = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    _demand_storable("it", given)
    return given


def _demand_storable(name: str, given: object) -> None:
    if any("\0" in text or SURROGATE.search(text) for text in _texts(given)):
        raise argparse.ArgumentTypeError(
            f"{name} holds a NUL or half a surrogate pair, which the database can't store"
        )


def setting(text: str) -> tuple[str, object]:
    """`path=value` of a subscription: a value that is no JSON is the word itself."""
    path, equals, value = text.partition("=")
    if not path or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing: write retry.max_attempts=5")
    try:
        given = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return path, value
    _demand_storable(path, given)
    return path, given


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, inner in value.items():
                yield name
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
