"""What of a record's headers is what, as far as their names say: found once for many records."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from relay.log import path
from relay.sources.headers import fold, taken

# Of CloudEvents in binary mode.
_PREFIX = "ce_"
# Attributes of an event that are no headers of its message; its id is the last of these.
_ELSEWHERE = frozenset({"specversion", "datacontenttype", "type", "id"})
# An empty value is none, and the log keeps no NULL.
TOMBSTONE = "kafka-tombstone"
# Places behind the headers' own: the path onward, `true` and an empty text stand there.
_ONWARD, _TRUE, _NOTHING = -3, -2, -1
# So many characters of names together.
MAX_REMEMBERED = 2_000

Named = Sequence[tuple[str, int]]


class Shape(NamedTuple):
    """Where among the headers' values is what. Names are told apart without case; of equal ones
    the last counts.

    `event`: the type, id and source of an event; None: it is none. A message's headers are those
    `around` it, `of_event` and the record's `own`; `taken` are those that the log takes of all.
    `own` is all but `paths`: those are all that the log takes for the same name, so that none
    stands there in the place of the path.
    """

    paths: Sequence[int]
    content_type: int
    idempotency_key: int
    event: Sequence[int] | None
    around: Named
    of_event: Named
    own: Named
    taken: Named


def shape_of(names: tuple[str, ...], *, tombstone: bool) -> Shape:
    """Of headers with these names."""
    # A name may be a megabyte: of those none is remembered.
    remembered = len("".join(names)) <= MAX_REMEMBERED
    return (_shape if remembered else _shape.__wrapped__)(names, tombstone)


# A topic's records have few sets of names.
@lru_cache(200)
def _shape(names: tuple[str, ...], tombstone: bool) -> Shape:
    places = {name.lower(): place for place, name in enumerate(names)}
    around = [(path.NAME, _ONWARD)]
    if tombstone:
        around.append((TOMBSTONE, _TRUE))
    paths = [place for place, name in enumerate(names) if fold(name) == path.NAME]
    own = [(name, place) for place, name in enumerate(names) if place not in paths]
    attributes = {
        name.removeprefix(_PREFIX): place
        for name, place in places.items()
        if name.startswith(_PREFIX)
    }
    event, of_event = None, []
    if {"specversion", "type"} & attributes.keys():
        event = [attributes.get(name, _NOTHING) for name in ("type", "id", "source")]
        of_event = [
            (f"event-{name}", place) for name, place in attributes.items() if name not in _ELSEWHERE
        ]
        of_event.append(("event-id", event[1]))
    named = [*around, *of_event, *own]
    return Shape(
        paths=paths,
        content_type=places.get("content-type", _NOTHING),
        idempotency_key=places.get("idempotency-key", _NOTHING),
        event=event,
        around=around,
        of_event=of_event,
        own=own,
        taken=[named[place] for place in taken([name for name, _ in named])],
    )
