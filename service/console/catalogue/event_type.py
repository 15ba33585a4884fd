"""GET /catalogue/types/{type}: one type, its schema, its versions, who listens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from catalogue import schema
from service.computing import Computing
from service.console.access import ANYBODY, reader, signed_in
from service.console.catalogue import changes, reading
from service.console.catalogue.changes import Step
from service.console.catalogue.counts import Counts
from service.console.catalogue.reading import Fault, Outline, Subscriber, Version
from service.console.catalogue.tree import Node, tree
from service.console.page import as_page, rendered
from service.database.pool import Database
from service.database.transaction import Transaction
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.operations.ids import EVENT_TYPES

# Versions of which the page says what changed; the others are a link each.
MAX_STEPS = 10
# Of a schema, and of an example.
MAX_INDENTED_CHARACTERS = 262_144


@dataclass(frozen=True)
class Read:
    """What the database has of it. `versions` the newest first, up to the one that is shown."""

    outline: Outline
    newest: int
    versions: Sequence[Version]
    example: str | None
    faults: Sequence[Fault]
    subscribers: Sequence[Subscriber]


@dataclass(frozen=True)
class Drawn:
    """What takes a while to make of it."""

    tree: Node
    schema: str
    example: str | None


@as_page
async def show_type(request: Request) -> Response:
    """The version in force."""
    return await _show(request, None)


@as_page
async def show_version(request: Request) -> Response:
    """Another one."""
    written = request.path_params["version"]
    if not (written.isascii() and written.isdecimal() and len(written) <= 4):
        raise _none()
    return await _show(request, int(written))


async def _show(request: Request, version: int | None) -> Response:
    caller = await reader(request)
    type_ = request.path_params["type"]
    if not EVENT_TYPES.pattern.fullmatch(type_):
        raise _none()
    database: Database = request.state.database
    counts: Counts = request.state.counts
    computing: Computing = request.state.computing
    # Whoever waits for a turn holds nothing of it.
    async with computing.task():
        read = await database.walk(lambda transaction: _read(transaction, caller, type_, version))
        drawn = await computing.run(_drawn, read)
        steps = await _steps(computing, read.versions)
    counted = await counts.now()
    return rendered(
        "catalogue/event_type.html",
        visit=signed_in(request),
        read=read,
        drawn=drawn,
        steps=steps,
        type=read.outline,
        shown=read.versions[0],
        published=None if counted is None else counted.of(type_),
        # A pointer may lead through names that a publisher made up.
        tells_faults=caller is not ANYBODY,
        max_subscribers=reading.MAX_SUBSCRIBERS,
    )


async def _read(transaction: Transaction, caller: Caller, type_: str, version: int | None) -> Read:
    """Raises Problem 404 where there is none for this caller."""
    found = await reading.types(transaction, caller, type_=type_)
    if not found:
        raise _none()
    [outline] = found
    upto = outline.version if version is None else version
    versions = await reading.versions(transaction, outline.id, upto, MAX_STEPS + 1)
    if not versions or versions[0].version != upto:
        raise _none()
    is_newest = upto == outline.version
    return Read(
        outline=outline,
        newest=outline.version,
        versions=versions,
        example=await reading.example(transaction, outline.id) if is_newest else None,
        faults=await reading.faults(transaction, outline.id) if caller is not ANYBODY else [],
        subscribers=await reading.subscribers(transaction, caller, outline.channels, type_),
    )


def _drawn(read: Read) -> Drawn:
    shown = read.versions[0]
    return Drawn(
        tree=tree(schema.parse(shown.schema.encode())),
        schema=_indented(shown.schema),
        example=None if read.example is None else _indented(read.example),
    )


async def _steps(computing: Computing, versions: Sequence[Version]) -> list[Step]:
    """Of versions without a gap, the newest first; the last one's step is known only if it is 1."""
    found = []
    for new, old in pairwise(versions):
        step = changes.known(new, old)
        found.append(await computing.run(changes.step, new, old) if step is None else step)
    if versions[-1].version == 1:
        found.append(changes.first(versions[-1]))
    return found[:MAX_STEPS]


def _indented(text: str) -> str:
    """JSON with its numbers and its order as they were written.

    As it was written where it would be too long: each line is indented by all that it is in.
    """
    indented = msgspec.json.format(text, indent=2)
    return indented if len(indented) <= MAX_INDENTED_CHARACTERS else text


def _none() -> Problem:
    return Problem(404, "The catalogue has no such event type, or no such version of it.")
