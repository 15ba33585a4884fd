"""Where a rule of jsonpath, a double or another engine would easily say something else."""

import json
from typing import Any

import pytest

from tests.catalogue.paths import fits, schema
from tests.sql.log import Session

BIG = "123456789012345678901234567890"

PITFALLS: dict[str, tuple[Any, str, bool]] = {
    # Lax mode would unwrap the array.
    "an array is not its only item": ({"const": "EUR"}, '["EUR"]', False),
    "an array is none of its items": ({"enum": ["EUR"]}, '["EUR"]', False),
    "an item of an array is not its member": (
        {"properties": {"a": {"const": 1}}, "required": ["a"], "type": "object"},
        '[{"a": 1}]', False,
    ),
    # Three-valued logic: what is missing or of another type is unknown, and so is its negation.
    "what is missing is not forbidden": ({"not": {"required": ["a"]}}, "{}", True),
    "what is there is": ({"not": {"required": ["a"]}}, '{"a": null}', False),
    "a missing member fits whatever is asked of it": (
        {"not": {"properties": {"a": {"const": 1}}}}, "{}", False,
    ),
    "a text is not less than a number": ({"not": {"minimum": 5}}, '"a"', False),
    "a text has no minimum": ({"minimum": 5}, '"a"', True),
    "a number is no text in an enumeration of both": ({"enum": [1, "a"]}, '"1"', False),
    "true is not 1": ({"const": 1}, "true", False),
    "false is not 0": ({"enum": [0]}, "false", False),
    "null is not missing": ({"properties": {"a": {"type": "string"}}}, '{"a": null}', False),
    "null is not false": ({"const": None}, "false", False),
    "one of two alternatives about a member that is missing": (
        {"oneOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"maxProperties": 0}]},
        "{}", True,
    ),
    # Objects and arrays, which jsonpath does not compare.
    "an object equals in any order": ({"const": {"a": 1, "b": [2]}}, '{"b": [2.0], "a": 1}', True),
    "an object with one more does not": ({"const": {"a": 1}}, '{"a": 1, "b": 1}', False),
    "an array in another order does not": ({"const": [1, 2]}, "[2, 1]", False),
    "an empty object is no empty array": ({"const": {}}, "[]", False),
    # Integers by value, and numbers by all of their digits.
    "1.0 is an integer": ({"type": "integer"}, "1.0", True),
    "1e2 is an integer": ({"type": "integer"}, "1e2", True),
    "1e400 is an integer": ({"type": "integer"}, "1e400", True),
    "1e-400 is none": ({"type": "integer"}, "1e-400", False),
    "1e-400 is above zero": ({"exclusiveMinimum": 0}, "1e-400", True),
    "1e400 is beyond every bound": ({"maximum": 10**90}, "1e400", False),
    "-1e400 is below every bound": ({"minimum": -(10**90)}, "-1e400", False),
    "30 digits are told apart": ({"const": int(BIG)}, BIG[:-1] + "1", False),
    "30 digits are the same with a point": ({"const": int(BIG)}, BIG + ".0", True),
    "30 digits are the same with an exponent": ({"const": int(BIG)}, f"{BIG}0e-1", True),
    "30 digits are compared": ({"maximum": int(BIG)}, BIG[:-1] + "1", False),
    "30 digits behind the point are compared": ({"maximum": 1}, "1." + "0" * 29 + "1", False),
    "a double's neighbour is another number": (
        {"const": 9007199254740993}, "9007199254740992", False,
    ),
    "-0 is 0": ({"const": 0}, "-0", True),
    "-0.0 is 0": ({"enum": [0]}, "-0.0", True),
    "0.07 is a multiple of 0.01": ({"multipleOf": 0.01}, "0.07", True),
    "4.35 is a multiple of 0.01": ({"multipleOf": 0.01}, "4.35", True),
    "19.99 is a multiple of 0.01": ({"multipleOf": 0.01}, "19.99", True),
    "0.075 is none": ({"multipleOf": 0.01}, "0.075", False),
    "0 is a multiple of everything": ({"multipleOf": 7}, "0", True),
    "1e22 is a multiple of 7 or not by all digits": ({"multipleOf": 7}, "1e22", False),
    "7e22 is": ({"multipleOf": 7}, "7e22", True),
    "thirty digits are divided exactly": ({"multipleOf": 3}, BIG, True),
    "a thousand digits are multiples of nothing": ({"multipleOf": 1}, "1e1000", False),
    "the largest number below is divided": ({"multipleOf": 9}, "9" * 1_000, True),
    "nor are they below zero": ({"multipleOf": 1}, "-1e1000", False),
    "thousands of digits are an integer": ({"type": "integer"}, "9" * 5_000, True),
    # Texts: code points, and lengths that no pattern counts to.
    "a character beyond 16 bits is one": ({"maxLength": 1}, '"😀"', True),
    "so it is as two escapes": ({"maxLength": 1}, '"\\ud83d\\ude00"', True),
    "a combining character is one more": ({"maxLength": 1}, '"e\\u0301"', False),
    "ends of line count": ({"minLength": 3, "maxLength": 3}, '"\\n\\n\\n"', True),
    "254 characters": ({"maxLength": 254}, json.dumps("é" * 254), True),
    "255 characters": ({"maxLength": 254}, json.dumps("é" * 255), False),
    "256 characters": ({"maxLength": 255}, json.dumps("é" * 256), False),
    "300 characters": ({"maxLength": 300, "minLength": 300}, json.dumps("é" * 300), True),
    "301 characters": ({"maxLength": 300}, json.dumps("a" * 301), False),
    "299 characters": ({"minLength": 300}, json.dumps("a" * 299), False),
    "301 characters of an alternative": (
        {"anyOf": [{"maxLength": 300}, {"minLength": 400}]}, json.dumps("a" * 301), False,
    ),
    "2,000 characters in every item": (
        {"items": {"maxLength": 2_000}}, json.dumps(["a", "b" * 2_001]), False,
    ),
    "a long name": ({"propertyNames": {"maxLength": 300}}, json.dumps({"a" * 301: 1}), False),
    # What can't be counted in a path.
    "1 and 1.0 are the same item": ({"uniqueItems": True}, "[1, 1.0]", False),
    "1 and true are not": ({"uniqueItems": True}, "[1, true, 0, false]", True),
    "[1] and [true] are not": ({"uniqueItems": True}, "[[1], [true]]", True),
    "objects are the same in any order": (
        {"uniqueItems": True}, '[{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]', False,
    ),
    "1e400 twice": ({"uniqueItems": True}, "[1e400, 10e399]", False),
    "in every array": ({"items": {"uniqueItems": True}}, "[[1, 2], [3, 3]]", False),
    "three members are too many": ({"maxProperties": 2}, '{"a": 1, "b": 1, "c": 1}', False),
    "the same name twice is one member": ({"maxProperties": 1}, '{"a": 1, "a": 2}', True),
    "what comes last counts": ({"properties": {"a": {"const": 2}}}, '{"a": 1, "a": 2}', True),
    "one member is too few": ({"minProperties": 2}, '{"a": 1}', False),
    "two that match are enough": ({"contains": {"const": 1}, "minContains": 2}, "[1, 2, 1]", True),
    "three are too many": ({"contains": {"const": 1}, "maxContains": 2}, "[1, 1, 1]", False),
    "none may do": ({"contains": {"const": 1}, "minContains": 0}, "[]", True),
    "names are checked": ({"propertyNames": {"pattern": "^[a-z]+$"}}, '{"A": 1}', False),
    "so is the empty one": ({"propertyNames": {"minLength": 1}}, '{"": 1}', False),
    "what is encoded is not looked into": (
        {"contentEncoding": "base64", "contentMediaType": "application/json"}, '"!!"', True,
    ),
    "the name of a schema is nothing to look up": (
        {"$id": "https://nowhere.invalid/a", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": False}},
        "[1]", False,
    ),
    # Names that a path has to quote.
    **{
        f"a name with {name!r}": (
            {"properties": {name: {"type": "string"}}, "additionalProperties": False},
            json.dumps({name: 1}), False,
        )
        for name in ('"', "\\", "$", "@", "a.b", "*", "é😀", "?(@)", "\n", "key", "value", "a/~b",
                     "1", "007", "+1", "-1")
    },
}  # fmt: skip


@pytest.mark.parametrize(("asked", "payload", "expected"), PITFALLS.values(), ids=PITFALLS.keys())
def test_every_path_says_the_same(db: Session, asked: Any, payload: str, expected: bool) -> None:
    assert fits(db, schema(asked), payload.encode()) == expected


FORMATS = {
    "uuid": {
        "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4A5B": True,
        "0190a1b2c3d47e5f8a9b0c1d2e3f4a5b": False,
        "{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}": False,
        "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b\n": False,
        "": False,
    },
    "date": {
        "2024-02-29": True, "2023-02-29": False, "2000-02-29": True, "1900-02-29": False,
        "2026-04-31": False, "2026-13-01": False, "2026-1-1": False, "2026-11-30 ": False,
        "٢٠٢٦-11-30": False,
    },
    "date-time": {
        "2026-11-30T12:00:00Z": True, "2026-11-30t12:00:00.123456789+05:30": True,
        "2026-11-30T12:00:00": False, "2026-11-30 12:00:00Z": False,
        "2026-11-30T24:00:00Z": False, "2026-12-31T23:59:60Z": False,
        "2026-02-30T12:00:00Z": False, "2026-11-30T12:00:00+0530": False,
    },
    "email": {
        "someone@example.org": True, "a+b@localhost": True, "a@b@c": False, "@b": False,
        "a@-b.de": False, "a@b..de": False, '"a b"@c.de': False, "ä@b.de": False,
    },
    "hostname": {"anything": True, "": True},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [(name, text, expected) for name, texts in FORMATS.items() for text, expected in texts.items()],
)
def test_a_format_is_asserted_alike(db: Session, name: str, text: str, expected: bool) -> None:
    payload = json.dumps(text).encode()
    assert fits(db, schema({"format": name}), payload) == expected
    assert fits(db, schema({"not": {"format": name}}), payload) != expected


def test_a_format_says_nothing_of_what_is_no_text(db: Session) -> None:
    assert fits(db, schema({"format": "date"}), b"5")


UNREADABLE = {
    "a NUL": rb'{"a": "\u0000"}',
    "a NUL in a name": rb'{"\u0000": 1}',
    "a NUL that a later member hides": rb'{"a": "\u0000", "a": 1}',
    "the byte": b'"\x00"',
    "half a surrogate pair": rb'["\ud800"]',
    "the other half": rb'["\udc00"]',
    "two first halves": rb'["\ud800\ud800"]',
    "half a pair in a name": rb'{"\ud800": 1}',
    "half a pair that a later member hides": rb'{"a": "\ud800", "a": 1}',
    "half a pair beside a number of no double": rb'["\ud800", 1e400]',
    "half a pair beside thousands of digits": rb'["\ud800", ' + b"9" * 5_000 + b"]",
    "no UTF-8": b'"\xff"',
    "an encoded half of a pair": b'"\xed\xa0\x80"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nothing": b"",
    "blanks": b" \n",
    "no JSON": b"{a: 1}",
    "two values": b"{} {}",
    "a comma too many": b"[1,]",
    "a leading zero": b"01",
    "a point without digits": b"[1.]",
    "NaN": b"NaN",
    "Infinity": b"[-Infinity]",
    "an end of line in a text": b'"a\nb"',
    "an unknown escape": rb'"\x41"',
    "too large an exponent": b"[1e131072]",
    "too small an exponent": b"[1e-16384]",
    "an exponent beyond all": b"[0e99999999999999999999]",
    "too many digits": b"9" * 131_073,
    "65 levels": b"[" * 65 + b"]" * 65,
    "65 levels in turn": b'{"a":[' * 33 + b"1" + b"]}" * 33,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 levels that do not end": b'[{"a":' * 50_000,
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_can_not_be_read_fits_nothing(db: Session, payload: bytes) -> None:
    assert not fits(db, True, payload)


READABLE = {
    "a NUL that is escaped": rb'"\\u0000"',
    "a surrogate pair": rb'"\ud83d\ude00"',
    "an escape before half a pair's letters": rb'"\\ud800"',
    "blanks around": b" \r\n\t1 ",
    "64 levels": b"[" * 64 + b"]" * 64,
    "64 levels with a value": b'{"a":' * 64 + b"1" + b"}" * 64,
    "brackets in a text": b'"' + b"[{" * 100 + b'"',
    "the largest exponent": b"1e131071",
    "the smallest exponent": b"1e-16383",
    "as many digits as there may be": b"9" * 131_072,
    "thousands of digits behind a point": b"0." + b"3" * 16_383,
    "the same name twice": b'{"a": 1, "a": 2}',
    "a control character that JSON allows": b'"\x7f"',
    "an escaped slash": rb'"\/"',
}


@pytest.mark.parametrize("payload", READABLE.values(), ids=READABLE.keys())
def test_what_can_be_read_fits_what_asks_for_nothing(db: Session, payload: bytes) -> None:
    assert fits(db, True, payload)
