r"""What it takes to refuse a request, whatever its sender has put into it.

Counted are lines of Python and bytes held: C goes through a megabyte in a few milliseconds, Python
through as many values in seconds, in which no other request is answered.
"""

import json
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.payments import money
from service.payments.orders.creation import OrderForm
from service.platform.messages.messages import Batch
from service.problems import Problem
from service.web.access.hosts import Hosts
from service.web.bodies import body, lone_surrogates
from service.web.bodies.lone_surrogates import MAX_BYTES_TO_FIELD, MAX_PATH_LENGTH

MEGABYTE = 1_048_576
# As many values as may stand before a field that is told by its path, some lines for each.
MAX_LINES = 10 * MAX_BYTES_TO_FIELD
ANYTHING = msgspec.json.Decoder(msgspec.Raw)
ORDER = money.decoder(OrderForm)
LONE = rb'"\ud800"'


def lines(work: Callable[[], object]) -> int:
    """How many lines of Python it takes."""
    count = 0

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def held_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refusal(shape: Any, content: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        body.decode(shape, content)
    return caught.value


def names(count: int) -> bytes:
    return b",".join(b'"%x":0' % number for number in range(count))


def message(payload: bytes, kind: bytes = b'"t"') -> bytes:
    return b'{"channelId":"c","type":%s,"payload":%s}' % (kind, payload)


BODIES = {
    "a long name over many short ones": b'{"number":%s,"%s":{%s},"number":"x"}'
    % (LONE, b"x" * 60_000, names(10_000)),
    "the same in wide characters": b'{"number":%s,"%s":{%s},"number":"x"}'
    % (LONE, b"x" * 60_000 + "😀".encode(), names(10_000)),
    "a path that grows with each name": b'{"%s":' % (b"x" * 1000) * 200 + LONE + b"}" * 200,
    "a batch with one at its end": b"[%s]"
    % b",".join([message(b"[%s]" % b",".join([b"0"] * 5000))] * 99 + [message(b"1", LONE)]),
    "one behind a megabyte of values": b"[%s%s]" % (b"[]," * 350_000, LONE),
    "nothing but halves": b'["%s"]' % (rb"\ud800" * 170_000),
    "nothing but pairs, and a half": rb'["%s\ud800"]' % (rb"\ud83d\ude00" * 85_000),
    "nothing but backslashes, and a half": rb'["%s\ud800"]' % (rb"\\" * 500_000),
    "nothing but line ends, and a half": rb'["%s\ud800"]' % (rb"\n" * 500_000),
}


@pytest.mark.parametrize("kind", BODIES)
def test_half_a_pair_is_told_at_a_cost_that_its_sender_does_not_choose(kind: str) -> None:
    content = BODIES[kind]
    told: list[Problem] = []

    def refuse() -> None:
        told.append(refusal(ANYTHING, content))

    assert lines(refuse) < MAX_LINES
    assert held_bytes(refuse) < 4 * MEGABYTE + 4 * len(content)
    assert all("half a surrogate pair" in problem.detail for problem in told)


@pytest.mark.parametrize("kind", BODIES)
def test_halves_are_replaced_at_a_cost_that_their_sender_does_not_choose(kind: str) -> None:
    """Of every webhook, to tell its event."""
    content = BODIES[kind]
    assert lines(lambda: lone_surrogates.replaced(content)) < MAX_LINES
    assert json.loads(lone_surrogates.replaced(content)) is not None


def test_half_a_pair_far_into_a_body_is_told_by_its_place() -> None:
    content = b'{"metadata":{"a":"%s"},"number":%s}' % (b"x" * MAX_BYTES_TO_FIELD, LONE)
    problem = refusal(ORDER, content)
    assert problem.field is None
    assert f"at byte {content.index(LONE) + 1}," in problem.detail


def test_a_path_too_long_to_read_is_not_told() -> None:
    for name, is_told in ((b"x" * (MAX_PATH_LENGTH + 1), False), (b"x" * MAX_PATH_LENGTH, True)):
        problem = refusal(ORDER, b'{"%s":%s}' % (name, LONE))
        assert problem.field == (name.decode() if is_told else None)


@pytest.mark.parametrize(
    ("shape", "content"),
    [
        (OrderForm, b'{"items":[{"mode":"%s"}]}' % (b"x" * 200_000)),
        (Batch, b'[{"%s":1}]' % (b"x" * MEGABYTE)),
        (Batch, rb'[{"%s":1}]' % (rb"\u0001" * 200_000)),
    ],
)
def test_a_refusal_is_short_however_long_is_what_it_refuses(shape: Any, content: bytes) -> None:
    response = refusal(msgspec.json.Decoder(shape), content).response()
    assert len(response.body) < 10_000
    assert b"does not fit" in response.body


def test_the_names_of_many_labels_are_not_all_looked_up() -> None:
    """32 KB of Host have 16,000 names above the first, of 16 KB each."""
    hosts = Hosts(lambda *_: None, ["*.example.com"], ())  # type: ignore[arg-type]
    assert lines(lambda: hosts._is_listed("a." * 16_000 + "example.com")) < 100
    assert hosts._is_listed("a." * 100 + "example.com")


TEXTS = st.text(st.sampled_from('a\\"[]{},:/é\ud800\udc00😀'), min_size=1, max_size=4)
JSON = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)


HALF = re.compile("[\ud800-\udfff]")


def walk(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all values and names that hold one, in their order."""
    if isinstance(value, str) and HALF.search(value):
        yield path.removeprefix(".")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from walk(name, path)
            yield from walk(one, f"{path}.{name}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from walk(one, f"{path}[{index}]")


@given(JSON)
def test_the_path_is_that_of_the_first_half(value: Any) -> None:
    found = lone_surrogates.find(json.dumps(value).encode())
    # Two halves that are written side by side are a pair to every reader.
    written = json.loads(json.dumps(value))
    assert (found.path if found else None) == next(walk(written), None)
