"""A pattern of ECMA 262 means the same to Postgres, Rust and Python, or is outside the subset."""

import json
import re
import unicodedata

import pytest

from catalogue import patterns
from catalogue.patterns import OutsideSubset, spelled
from catalogue.rules import Untranslatable, translate
from catalogue.validation import Validator
from tests.catalogue.paths import fits, schema
from tests.catalogue.schemas import PATTERNS, TEXTS
from tests.sql.log import Session


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_engine_matches_the_same(db: Session, pattern: str) -> None:
    for text in {*PATTERNS[pattern], *TEXTS}:
        fits(db, schema({"pattern": pattern}), json.dumps(text).encode())


# As ECMA 262 says with the flag u.
MEANINGS = {
    (r"^.$", "a😀é"): True,
    (r"^\s$", "\t\n\v\f\r \u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"): True,
    (r"^\s$", "\u180e\u200b\u0085\x1c"): False,
    (r"^\S$", "\u180e\u200b\u0085a"): True,
    (r"^\d$", "0123456789"): True,
    (r"^\d$", "\u0663\uff11²"): False,
    (r"^\w$", "azAZ09_"): True,
    (r"^\w$", "é\u017f\u212a-"): False,
    (r"^\W$", "é\u017f\u212a-\n"): True,
    (r"^.$", "\n\r\u2028\u2029"): False,
    (r"^.$", "\u0085\x0b\x0c"): True,
    (r"^[^a]$", "\n\r\u2028😀"): True,
    (r"^[\s\S]$", "\n😀a"): True,
    (r"^[a-]$", "a-"): True,
    (r"^[\^\]\\]$", "^]\\"): True,
    (r"^[a\d-]$", "a5-"): True,
    (r"^\x41\u{1F600}?$", "A"): True,
    (r"^\ud83d\ude00$", "😀"): True,
    (r"^[\u{1F600}-\u{1F602}]$", "😀😁😂"): True,
    (r"^[^\D]$", "5"): True,
    (r"^\t\n\v\f\r$", "x"): False,
    (r"^\/\-\@\ $", "x"): False,
}  # fmt: skip


@pytest.mark.parametrize(("pattern", "characters"), MEANINGS)
def test_a_class_means_what_javascript_means(db: Session, pattern: str, characters: str) -> None:
    expected = MEANINGS[pattern, characters]
    for character in characters:
        payload = json.dumps(character).encode()
        assert fits(db, schema({"pattern": pattern}), payload) == expected, ascii(character)


@pytest.mark.parametrize("pattern", ["a$", "^a$", "^(?:a$|b)", "$"])
def test_the_end_is_the_end_of_the_text_and_of_no_line(db: Session, pattern: str) -> None:
    for text in ("a", "a\n", "a\nb", "b\na", ""):
        expected = re.search(pattern.replace("$", r"\Z"), text) is not None
        assert fits(db, schema({"pattern": pattern}), json.dumps(text).encode()) == expected


OUTSIDE = {
    r"(?=a)b": "look-around", r"(?<!a)b": "look-around", r"(?<name>a)": "named groups",
    r"(?i)a": "flags", r"(a)\1": "back references", r"\k<a>": "back references",
    r"\bword": "word boundaries", r"\Bword": "word boundaries", r"\p{L}": "Unicode",
    r"\P{L}": "Unicode", r"a{256}": "255", r"a{0,300}": "255", r"(?:a{200}){200}": "states",
    r"(?:a{0,255}){0,255}": "states", "(" * 40 + ")" * 40: "nested", r"\0": "NUL",
    r"\ud800": "surrogate", r"[\ud800-\udfff]": "surrogate", r"\cJ": "escape", r"[z-a]": "range",
    r"[\d-z]": "range", r"[]": "empty", r"[^]": "empty", r"a**": "stands", r"^*": "stands",
    r"a{2": "stands", r"}": "stands", r"]": "stands", r"(a": "without", r"a)": "without",
    r"[a": "ends", "a\\": "ends", r"a{3,2}": "downwards", r"\i": "escape", "a" * 5_000: "longer",
}  # fmt: skip


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_what_engines_read_differently_is_outside(pattern: str) -> None:
    with pytest.raises(OutsideSubset, match=OUTSIDE[pattern]):
        spelled(pattern)


@pytest.mark.parametrize("pattern", [r"\bword\b", r"^\p{Lu}", r"^a{256}$"])
def test_a_pattern_outside_is_checked_here_and_named_where_sql_should(pattern: str) -> None:
    asked = schema({"properties": {"a": {"pattern": pattern}}})
    assert Validator(asked).faults(b'{"a": "!"}')
    with pytest.raises(Untranslatable) as caught:
        translate(asked)
    assert (caught.value.pointer, caught.value.keyword) == ("/properties/a", "pattern")


def test_every_character_of_a_block_matches_itself(db: Session) -> None:
    """What reads as a letter, a mark or nothing at all to an engine is a character like others."""
    characters = [
        chr(code)
        for code in (*range(1, 0x250), *range(0x2000, 0x2070), 0xFEFF, 0x1F600, 0x10FFFF)
        if unicodedata.category(chr(code)) != "Cs"
    ]
    text = "".join(characters)
    escaped = "".join(f"\\u{{{ord(one):x}}}" for one in characters)
    assert len(escaped) < patterns.MAX_LENGTH * 2
    half = len(characters) // 3
    for part in (characters[:half], characters[half : 2 * half], characters[2 * half :]):
        escaped = "".join(f"\\u{{{ord(one):x}}}" for one in part)
        assert fits(db, schema({"pattern": f"^[{escaped}]+$"}), json.dumps("".join(part)).encode())
    assert not fits(db, schema({"pattern": "^[a-z]+$"}), json.dumps(text).encode())
