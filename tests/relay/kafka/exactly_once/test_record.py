"""What a Kafka transaction notes of its run is read back as it was written, in few bytes."""

import base64
import hashlib
import hmac
import zlib
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.kafka.exactly_once.record import (
    DEAD_CHARACTERS,
    MAX_CHARACTERS,
    SEAL_BYTES,
    Record,
    Unreadable,
    decode,
    encode,
    noted,
    pack,
    restored,
    unpack,
)
from relay.log.position import Delta, Position
from relay.log.sink import MAX_NOTED, Dead

# The machine is busy: how long an example takes says nothing.
unhurried = settings(deadline=None)

BIGINT = st.integers(0, 2**63 - 1)
KEY = b"the database's own"


@st.composite
def snapshots(draw: st.DrawFn) -> str:
    """A pg_snapshot as Postgres writes it: xmin is the first in progress, or else xmax."""
    first = draw(st.integers(3, 2**62))
    gaps = draw(st.lists(st.integers(1, 2**32), max_size=60))
    in_progress = [first + sum(gaps[:n]) for n in range(len(gaps))]
    xmax = in_progress[-1] + draw(st.integers(1, 2**32)) if in_progress else first
    return f"{first}:{xmax}:{','.join(map(str, in_progress))}"


positions = st.one_of(
    st.none(),
    st.builds(Position, seen=snapshots()),
    st.builds(
        Position,
        seen=snapshots(),
        delta=st.builds(
            Delta, target=snapshots(), after_id=BIGINT, fresh_id=BIGINT, upto_id=BIGINT
        ),
    ),
)
deaths = st.lists(
    st.builds(Dead, BIGINT, st.sampled_from(["MSG_SIZE_TOO_LARGE", "not_encodable"]), st.just("")),
    max_size=60,
    unique_by=lambda one: one.message_id,
)
records = st.builds(
    Record,
    timeline=st.text("0123456789ABCDEF", min_size=8, max_size=8),
    parent_n=BIGINT,
    parent_token=st.integers(-(2**63), 2**63 - 1),
    token=st.integers(-(2**63), 2**63 - 1),
    messages=st.integers(0, 2**31 - 1),
    bytes=BIGINT,
    position=positions,
    redriven=st.lists(BIGINT, max_size=60).map(tuple),
    dead=deaths.map(noted),
)


def sealed(record: Record) -> str:
    return encode(record, KEY)


@unhurried
@given(snapshots())
def test_a_snapshot_is_read_back_as_it_was(snapshot: str) -> None:
    assert unpack(pack(snapshot)) == snapshot


@unhurried
@given(records)
def test_a_record_is_read_back_as_it_was(record: Record) -> None:
    assert decode(encode(record, KEY), KEY) == record


@unhurried
@given(deaths)
def test_dead_letters_are_read_back_with_their_reasons(dead: list[Dead]) -> None:
    read = {(one.message_id, one.reason) for one in restored(noted(dead))}
    assert read == {(one.message_id, one.reason) for one in dead}


@pytest.mark.parametrize("seed", range(5))
def test_the_dead_letters_of_a_run_fit_into_the_room_that_is_kept_for_them(seed: int) -> None:
    random = Random(seed)
    ids = sorted(random.sample(range(2**40, 2**40 + 20_000), MAX_NOTED))
    dead = [Dead(one, "TOPIC_IS_THE_RELAYS_OWN", "") for one in ids]
    position = Position("1:1:", Delta("2:2:", 2**40, 2**40, 2**40))
    bare = Record("FFFFFFFF", 1, 2**60, 2**60, 20_000, 16_000_000, position)
    full = msgspec.structs.replace(bare, dead=noted(dead))
    assert len(encode(full, KEY)) - len(encode(bare, KEY)) <= DEAD_CHARACTERS


@unhurried
@given(records)
def test_a_record_is_ascii_text_that_no_broker_alters(record: Record) -> None:
    text = encode(record, KEY)
    assert text.isascii()
    assert text.isprintable()


@unhurried
@given(st.text(max_size=60) | records.map(sealed).flatmap(lambda text: st.sampled_from(cut(text))))
def test_whatever_else_stands_there_is_refused_as_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        decode(text, KEY)


@unhurried
@given(records)
def test_what_another_key_has_sealed_or_none_is_refused(record: Record) -> None:
    """As who keeps the cluster may write it, knowing all former ones."""
    for forged in (
        encode(record, b"theirs"),
        encode(record, b""),
        base64.b85encode(base64.b85decode(sealed(record))[:-SEAL_BYTES]).decode(),
    ):
        with pytest.raises(Unreadable, match="has not written it"):
            decode(forged, KEY)


def cut(text: str) -> list[str]:
    """The text without its end: four fifths of it, and without its last character."""
    return [text[: len(text) * 4 // 5], text[:-1]]


def test_a_small_text_that_unpacks_to_much_is_refused() -> None:
    """Nobody else can have sealed it, and it is bounded all the same."""
    data = zlib.compress(b"\xc6" + b"\0" * 50_000_000)
    seal = hmac.digest(KEY, data, hashlib.sha256)[:SEAL_BYTES]
    bomb = base64.b85encode(data + seal).decode()
    with pytest.raises(Unreadable):
        decode(bomb, KEY)


def scattered(random: Random, transactions: int) -> str:
    """So many transactions in progress among twenty times as many that have ended."""
    in_progress = sorted(random.sample(range(10**9, 10**9 + 20 * transactions), transactions))
    return f"{in_progress[0]}:{10**9 + 20 * transactions}:{','.join(map(str, in_progress))}"


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_transactions_in_progress_fit_into_the_metadata_twice(seed: int) -> None:
    random = Random(seed)
    seen = scattered(random, 1000)
    # A second later most of them are still there.
    _, xmax, in_progress = seen.split(":")
    still = random.sample(in_progress.split(","), 900)
    later = sorted([*map(int, still), *range(int(xmax), int(xmax) + 100)])
    target = f"{later[0]}:{int(xmax) + 100}:{','.join(map(str, later))}"
    most = 2**63 - 1
    position = Position(seen, Delta(target, most, most, most))
    record = Record("FFFFFFFF", most, most, most, 20_000, 16_000_000, position)
    assert len(encode(record, KEY)) <= MAX_CHARACTERS
