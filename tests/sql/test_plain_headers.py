"""What the log takes at a glance its rules take, and what most messages have it takes so."""

import json
import re
from random import Random

import pytest

from tests.sql.log import Session, one

PLAIN = "select outbox.headers_are_plain(%s)"
# Those that were called plain, and have a fault.
WRONG = """
    select headers from unnest(%s::text[]) as headers
    where outbox.headers_are_plain(headers) and outbox.headers_fault(headers) is not null
"""
NAMES = [
    "traceparent", "X-Tenant", "x-tenant", "x_tenant", "x.tenant", "ce-id", "CE_id", "ce", "cents",
    "te", "Te", "tea", "Content_Type", "webhook", "webhooks", "webhook-", "sec-x", "section", "",
    "x-forwarded-for", "x-forwarded", "X_Forwarded", "x-forwarder", "ü", "a b", "\u212a", "\u017f",
    "a,b", "n" * 128, "n" * 129, "outbox-path", "replayed", "via", "\x7f", "{", "}", ":", "-", "_",
]  # fmt: skip
VALUES: list[object] = [
    "", "plain", "ümlaut", "a\tb", "\x7f", "\x9f", '"', "\\", '","te":"', "{", "}", ",", "𝄞",
    "v" * 8000, "\u2028", "\ud800", "\0", 1, None, True, [], {"te": "x"},
]  # fmt: skip
SEPARATORS = [(",", ":"), (", ", ": "), (",  ", ":"), (",\n", ": "), (" , ", " : ")]


def written(headers: list[tuple[str, object]], separators: tuple[str, str], ascii: bool) -> str:
    """A JSON object in which a name may come twice."""
    comma, colon = separators
    members = (
        f"{json.dumps(name, ensure_ascii=ascii)}{colon}{json.dumps(value, ensure_ascii=ascii)}"
        for name, value in headers
    )
    return f"{{{comma.join(members)}}}"


def storable(text: str) -> bool:
    """Whether Postgres takes it as a text at all."""
    return "\0" not in text and not re.search("[\ud800-\udfff]", text)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_plain_that_the_rules_refuse(db: Session, seed: int) -> None:
    random = Random(seed)
    ordinary: list[object] = ["plain", "ümlaut"]
    texts = []
    for _ in range(3000):
        # A few odd values among ordinary ones, or most of them would be refused for those.
        values = VALUES if random.random() < 0.3 else ordinary
        given = [(random.choice(NAMES), random.choice(values)) for _ in range(random.randint(0, 4))]
        texts.append(written(given, random.choice(SEPARATORS), random.random() < 0.5))
    texts = [text for text in texts if storable(text)]
    assert db.execute(WRONG, (texts,)).fetchall() == []
    # Some of them were, so that this said something.
    plain = "select count(*) from unnest(%s::text[]) as h where outbox.headers_are_plain(h)"
    assert one(db, plain, texts) > 100


def test_no_name_that_the_rules_withhold_is_plain(db: Session) -> None:
    body = one(db, "select pg_get_function_sqlbody('outbox.is_withheld'::regproc)")
    families, names = (found.split(",") for found in re.findall(r"'\{(.*?)\}'", body))
    withheld = list(names)
    for family in families:
        assert family.endswith("-%")
        withheld += [family[:-2], family[:-1], f"{family[:-1]}x"]
    assert len(withheld) > 50
    for name in withheld:
        for spelled in (name, name.upper(), name.replace("-", "_")):
            assert one(db, PLAIN, json.dumps({"a": "1", spelled: "v"})) is False, spelled
            assert one(db, "select outbox.headers_fault(%s)", json.dumps({spelled: "v"}))


@pytest.mark.parametrize("separators", SEPARATORS[:2])
def test_what_most_messages_have_is_plain(db: Session, separators: tuple[str, str]) -> None:
    given: dict[str, object] = {
        "outbox-path": "9d2f7c3e-0000-4000-8000-000000000001",
        "event-time": "2026-11-30T19:00:00.123456Z",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "x-request-id": "7, {of} 8: 'ümlaut'",
        "__TypeId__": "shop.Order",
    }
    assert one(db, PLAIN, written([*given.items()], separators, ascii=False)) is True


def test_what_is_too_much_is_not_plain(db: Session) -> None:
    for count, length, size, plain in [
        (100, 10, 0, True),
        (101, 10, 0, False),
        (1, 128, 0, True),
        (1, 129, 0, False),
        (1, 10, 16_384 - 17, True),
        (1, 10, 16_384 - 16, False),
    ]:
        given = {f"{number:0{length}}": "v" * size for number in range(count)}
        text = json.dumps(given, separators=(",", ":"))
        assert one(db, PLAIN, text) is plain, (count, length, size)
