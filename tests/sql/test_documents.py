"""What the documents show is right for any payload: their SQL is taken from them and run."""

import json
import re
from pathlib import Path

import pytest

from tests.sql.log import Session

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LITERAL = re.compile(r"'\{.*?\}'")

# In a bytea's own syntax a backslash means something: \\ is one, \n is an error, \101 is an A.
NASTY = json.dumps(
    {"path": r"C:\new\101\\", "said": '"it\'s"', "lines": "a\nb\r\n\t", "face": "👋\u2028ß"},
    ensure_ascii=False,
    indent=1,
)


def publishing() -> list[str]:
    """The documents' blocks of SQL that publish a payload which is written out."""
    blocks = [block for document in DOCUMENTS for block in BLOCK.findall(document.read_text())]
    return [
        block
        for block in blocks
        if re.search(r"outbox\.publish\(|into outbox\.message", block) and LITERAL.search(block)
    ]


def test_the_readme_shows_both_ways_to_publish() -> None:
    shown = "".join(BLOCK.findall(DOCUMENTS[0].read_text()))
    assert "select outbox.publish(" in shown
    assert "insert into outbox.message" in shown


@pytest.mark.parametrize("block", publishing())
def test_a_payload_goes_into_the_log_byte_for_byte_as_it_is_written(
    db: Session, block: str
) -> None:
    db.execute("create table orders (id integer, status text)")
    quoted = "'" + NASTY.replace("'", "''") + "'"
    db.execute(LITERAL.sub(lambda _: quoted, block).encode())
    stored = db.execute("select payload from outbox.message").fetchall()
    assert stored == [(NASTY.encode(),)]
