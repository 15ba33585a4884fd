r"""Regular expressions of ECMA 262, in a spelling that every engine here reads the same.

A schema writes `^\d+$` as JavaScript reads it. Postgres, Rust and Python agree on less: on what
`.`, `\d`, `\w` and `\s` stand for they do not. So these are written out, and what can't be written
so that all agree is outside of the subset: look-around, back references, word boundaries,
properties of Unicode, flags and named groups.
"""

import functools
import re
from contextlib import suppress
from typing import NamedTuple

import jsonschema_rs

# Postgres counts so far. More states than this take it longer than a publish should.
MAX_COUNT = 255
MAX_STATES = 512
MAX_GROUPS = 32
MAX_LENGTH = 4_096

# What an engine that takes linear time may use to read a pattern outside of the subset.
LINEAR = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)

Ranges = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# ECMA 262: WhiteSpace and LineTerminator.
_SPACE: Ranges = (
    (0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
    (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_LINE_END: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_OUTSIDE = {
    "0": "NUL",
    **dict.fromkeys("bB", "word boundaries"),
    **dict.fromkeys("pP", "properties of Unicode"),
    **dict.fromkeys("123456789k", "back references"),
}

_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{0*([0-9A-Fa-f]{1,6})\}")
_QUANTIFIER = re.compile(r"([*+?])|\{([0-9]+)(?:(,)([0-9]*))?\}")


class OutsideSubset(Exception):
    """What of a pattern not every engine reads the same."""


class _Piece(NamedTuple):
    """A part of a pattern: its common spelling, and about how many states it takes to match."""

    text: str
    states: int


def spelled(pattern: str) -> str:
    """The pattern in the common spelling. Raises OutsideSubset."""
    if len(pattern) > MAX_LENGTH:
        raise OutsideSubset(f"it is longer than {MAX_LENGTH} characters")
    reader = _Reader(pattern)
    piece = reader.alternatives(0)
    if reader.more():
        raise OutsideSubset("there is a ) without its (")
    return piece.text


def fault(pattern: str) -> str | None:
    """Why no engine here would match this pattern in linear time; None: one does."""
    try:
        spelled(pattern)
    except OutsideSubset as outside:
        try:
            jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=LINEAR)
        except ValueError:
            return f"the pattern {pattern!r:.200} can't be matched in linear time: {outside}"
    return None


def match(pattern: str, text: str) -> bool:
    """Whether a pattern that has no fault matches, in linear time."""
    return _compiled(pattern).is_valid(text)


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> jsonschema_rs.Validator:
    with suppress(OutsideSubset):
        pattern = spelled(pattern)
    return jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=LINEAR)


class _Reader:
    """Reads one pattern from its beginning to its end."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def more(self) -> bool:
        return self.at < len(self.pattern)

    def take(self, text: str) -> bool:
        """Whether `text` stands here; if so it is behind us."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) if found else 0
        return found

    def next(self) -> str:
        if not self.more():
            raise OutsideSubset("it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self, depth: int) -> _Piece:
        if depth > MAX_GROUPS:
            raise OutsideSubset(f"its groups are nested deeper than {MAX_GROUPS}")
        branches = [self.sequence(depth)]
        while self.take("|"):
            branches.append(self.sequence(depth))
        return _bounded("|".join(one.text for one in branches), sum(one.states for one in branches))

    def sequence(self, depth: int) -> _Piece:
        pieces = []
        while self.more() and self.pattern[self.at] not in "|)":
            pieces.append(self.term(depth))
        return _bounded("".join(one.text for one in pieces), sum(one.states for one in pieces) + 1)

    def term(self, depth: int) -> _Piece:
        if self.take("^"):
            return _Piece("^", 1)
        if self.take("$"):
            return _Piece("$", 1)
        return self.quantified(self.atom(depth))

    def atom(self, depth: int) -> _Piece:
        if self.take("("):
            return self.group(depth)
        if self.take("["):
            return self.bracket()
        if self.take("."):
            return _Piece(_class(_LINE_END, negated=True), 1)
        if self.take("\\"):
            return _Piece(_class(self.escape()), 1)
        character = self.next()
        if character in "*+?{}]":
            raise OutsideSubset(f"{character} stands without what it belongs to")
        return _Piece(_class(_one(ord(character))), 1)

    def group(self, depth: int) -> _Piece:
        if self.take("?") and not self.take(":"):
            raise OutsideSubset("look-around, flags and named groups")
        inner = self.alternatives(depth + 1)
        if not self.take(")"):
            raise OutsideSubset("there is a ( without its )")
        return _Piece(f"(?:{inner.text})", inner.states)

    def quantified(self, atom: _Piece) -> _Piece:
        if (found := _QUANTIFIER.match(self.pattern, self.at)) is None:
            return atom
        self.at = found.end()
        self.take("?")  # Whether it matches does not depend on how much it takes first.
        if found[1]:
            return _bounded(atom.text + found[1], atom.states + 1)
        least = int(found[2][-4:])
        most = least if found[3] is None else int(found[4][-4:]) if found[4] else None
        if max(len(found[2]), len(found[4] or "")) > 3 or max(least, most or 0) > MAX_COUNT:
            raise OutsideSubset(f"it counts beyond {MAX_COUNT}")
        if most is not None and most < least:
            raise OutsideSubset("it counts downwards")
        if most == 0:
            return _Piece("(?:)", 1)
        count = f"{{{least}}}" if most == least else f"{{{least},{'' if most is None else most}}}"
        return _bounded(atom.text + count, atom.states * (most or least + 1) + 1)

    def bracket(self) -> _Piece:
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        while not self.take("]"):
            first = self.member()
            dash = self.take("-")
            if dash and not self.pattern.startswith("]", self.at):
                last = self.member()
                if len(first) + len(last) > 2 or first[0][0] != first[0][1] or last[0] < first[0]:
                    raise OutsideSubset("a range runs from one character to a later one")
                ranges.append((first[0][0], last[0][1]))
            else:
                ranges.extend((*first, *_one(ord("-"))) if dash else first)
        if not ranges:
            raise OutsideSubset("an empty class")
        return _Piece(_class(tuple(ranges), negated), 1)

    def member(self) -> Ranges:
        """One of a bracket: a character or an escape."""
        character = self.next()
        return self.escape() if character == "\\" else _one(ord(character))

    def escape(self) -> Ranges:
        if (found := _HEX.match(self.pattern, self.at)) is not None:
            self.at = found.end()
            return self.code_point(int(found[1] or found[2] or found[3], 16))
        letter = self.next()
        if letter in _CONTROLS:
            return _one(_CONTROLS[letter])
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter.lower() in _CLASSES:
            return _complement(_CLASSES[letter.lower()])
        if letter.isalnum() or not letter.isascii():
            raise OutsideSubset(_OUTSIDE.get(letter, f"the escape \\{letter}"))
        return _one(ord(letter))

    def code_point(self, code: int) -> Ranges:
        r"""What \x or \u names; \ud83d\ude00 together are one character."""
        if 0xD800 <= code <= 0xDBFF and (found := _HEX.match(self.pattern, self.at + 1)):
            low = int(found[2] or "0", 16)
            if self.pattern[self.at] == "\\" and 0xDC00 <= low <= 0xDFFF:
                self.at = found.end()
                code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
        return _one(code)


def _one(code: int) -> Ranges:
    if code == 0 or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        raise OutsideSubset("NUL and half a surrogate pair, which no text holds")
    return ((code, code),)


def _complement(ranges: Ranges) -> Ranges:
    borders = [1, *(border for low, high in ranges for border in (low, high + 1)), 0x110000]
    return tuple((low, high - 1) for low, high in zip(borders[::2], borders[1::2], strict=True))


def _class(ranges: Ranges, negated: bool = False) -> str:
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _character(ranges[0][0])
    inner = "".join(
        _character(low) + ("" if low == high else "-" + _character(high)) for low, high in ranges
    )
    return f"[{'^' if negated else ''}{inner}]"


def _character(code: int) -> str:
    """A character as it reads alone and in brackets alike."""
    if ((character := chr(code)).isascii() and character.isalnum()) or code in (0x20, 0x5F):
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _bounded(text: str, states: int) -> _Piece:
    if states > MAX_STATES:
        raise OutsideSubset(f"it takes more than {MAX_STATES} states with its counts written out")
    return _Piece(text, states)
