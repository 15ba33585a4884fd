"""The documents as tests read them: blocks, tables, code between backticks, anchors."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
DOCUMENTS = [README, *sorted(DOCS.rglob("*.md"))]

_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCED.sub("", document.read_text())


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language, '' for those that name none."""
    return [text for named, text in _FENCED.findall(document.read_text()) if named == language]


def code(text: str) -> list[str]:
    """What stands between backticks, each on one line."""
    return [" ".join(one.split()) for one in _CODE.findall(text)]


def anchors(document: Path) -> set[str]:
    """As they are made of headings: lower case, no punctuation, hyphens for blanks."""
    plain = (re.sub(r"[^\w\- ]", "", one.lower()) for one in _HEADING.findall(prose(document)))
    return {one.replace(" ", "-") for one in plain}


def tables(document: Path, heading: str) -> list[list[list[str]]]:
    """The tables between a heading and the next: of each its rows, without the first, as cells."""
    _, _, section = document.read_text().partition(f"# {heading}\n")
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert found, f"no table below {heading}"
    return [[_cells(line) for line in rows.splitlines()] for rows in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
