"""What the documents show of SQL is right: their blocks are run, their tables compared."""

import json
import re

import pytest

from relay.push.policy import schedule
from relay.push.policy.settings import BreakerSettings, Endpoint
from service.platform.subscriptions.endpoint_settings import HTTP_NAMES
from tests.documents import DOCS, DOCUMENTS, README, ROOT, blocks, tables
from tests.sql.log import Session

# Those that tell how to adopt the outbox are tried in tests/adopt, with roles and tables of their
# own.
BLOCKS = [
    block
    for document in DOCUMENTS
    if document not in (DOCS / "adopt.md", *(DOCS / "adopt").iterdir())
    for block in blocks(document, "sql")
]
LITERAL = re.compile(r"'\{.*?\}'")
PUBLISHES = re.compile(r"outbox\.publish\(|into outbox\.message")

# In a bytea's own syntax a backslash means something: \\ is one, \n is an error, \101 is an A.
NASTY = json.dumps(
    {"path": r"C:\new\101\\", "said": '"it\'s"', "lines": "a\nb\r\n\t", "face": "👋\u2028ß"},
    ensure_ascii=False,
    indent=1,
)


def publishing() -> list[str]:
    """The blocks that publish a payload which is written out."""
    return [block for block in BLOCKS if PUBLISHES.search(block) and LITERAL.search(block)]


def test_the_readme_shows_both_ways_to_publish() -> None:
    shown = "".join(blocks(README, "sql"))
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


def test_every_block_of_sql_runs(db: Session) -> None:
    db.execute((ROOT / "sql" / "inbox.sql").read_bytes())
    for block in BLOCKS:
        db.execute("drop table if exists orders; create table orders (id integer, status text)")
        db.execute(block.replace(":idempotency_key", "'a key'").encode())


def inline(column: int, document: str, heading: str, number: int = 0) -> set[str]:
    """A column of a table, each cell without its backticks."""
    return {row[column].strip("`") for row in tables(DOCS / document, heading)[number]}


def test_operations_has_every_script_and_no_other() -> None:
    inspect, maintain = (inline(0, "operations.md", "Watching", number) for number in (0, 1))
    scripts = {
        folder: {f"sql/{folder}/{path.name}" for path in (ROOT / "sql" / folder).glob("*.sql")}
        for folder in ("inspect", "maintain")
    }
    assert {"inspect": inspect, "maintain": maintain} == scripts


VIEWS = """
    select 'outbox.' || relname from pg_class
    where relnamespace = 'outbox'::regnamespace and relkind = 'v'
      and has_table_privilege('outbox_reader', oid, 'select')
"""


def test_operations_has_every_view_that_a_reader_may_read_and_no_other(db: Session) -> None:
    views = {name for (name,) in db.execute(VIEWS)}
    assert inline(0, "operations.md", "Watching", 2) == views


SETTINGS = "select path, kind, lowest::float8, highest::float8, words from outbox.http_setting"
COLUMNS = """
    select attname from pg_attribute
    where attrelid = 'outbox.subscription'::regclass and attnum > 0 and not attisdropped
"""
SUBSCRIPTION = "Every setting of a subscription"


def bounds(kind: str, lowest: float | None, highest: float | None, words: list[str] | None) -> str:
    """As the table writes them."""
    match kind:
        case "url":
            return "an http:// or https:// URL"
        case "word":
            return ", ".join(words or [])
        case "delays":
            return f"at most 100 of {lowest:.15g} to {highest:.15g}"
        case _:
            return f"{lowest:.15g} to {highest:.15g}"


DEFAULT_RETRY = {
    "schedule_seconds": ", ".join(f"{delay:g}" for delay in schedule.DEFAULT_SCHEDULE_SECONDS),
    "initial_delay_seconds": schedule.DEFAULT_INITIAL_DELAY_SECONDS,
    "multiplier": schedule.DEFAULT_MULTIPLIER,
    "max_delay_seconds": schedule.DEFAULT_MAX_DELAY_SECONDS,
    "max_attempts": schedule.DEFAULT_MAX_ATTEMPTS,
    "jitter": schedule.DEFAULT_JITTER,
}


def default(path: str) -> str:
    """What the relay does where a subscription says nothing."""
    part, _, name = path.rpartition(".")
    match part:
        case "retry":
            value: object = DEFAULT_RETRY[name]
        case "breaker":
            value = getattr(BreakerSettings(), name)
        case _:
            value = "required" if name == "endpoint" else getattr(Endpoint(endpoint=""), name)
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_http_api_has_every_setting_of_an_endpoint_with_its_names_bounds_and_default(
    db: Session,
) -> None:
    shown = [
        [cell.strip("`") for cell in row] for row in tables(DOCS / "http-api.md", SUBSCRIPTION)[1]
    ]
    assert all(explained for *_, explained in shown)
    expected = {
        path: [
            path,
            ".".join(HTTP_NAMES[key] for key in path.split(".")),
            "--endpoint" if path == "endpoint" else f"--setting {path}",
            default(path),
            bounds(*held),
        ]
        for path, *held in db.execute(SETTINGS)
    }
    assert {row[0]: row[:-1] for row in shown} == expected


def test_the_http_api_names_what_a_subscription_is_by_its_columns(db: Session) -> None:
    columns = {name for (name,) in db.execute(COLUMNS)}
    cells = inline(0, "http-api.md", SUBSCRIPTION)
    named = {name.strip("`") for cell in cells for name in cell.split(", ")}
    kept_by_the_platform = {
        "id", "read_channels", "made_by", "created_at", "waiting_since", "waiting_reason"
    }  # fmt: skip
    assert named == columns - kept_by_the_platform
