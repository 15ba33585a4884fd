"""What is written to the log is what it stores, and what no sink could take is refused."""

import json
import re
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from tests.sql.conftest import Member
from tests.sql.log import Session, one

PUBLISH = """
    select outbox.publish(%(channel)s, %(type)s, %(payload)s, group_key => %(group_key)s,
        priority => %(priority)s, idempotency_key => %(idempotency_key)s, headers => %(headers)s)
"""
GOOD: dict[str, Any] = {
    "channel": "orders",
    "type": "order.created",
    "payload": '{"b": 1,  "a": 10.10}',
    "group_key": "order-1",
    "priority": 3,
    "idempotency_key": "key-1",
    "headers": '{"traceparent": "00-1"}',
}


def test_json_is_stored_as_it_was_written(db: Session) -> None:
    db.execute(PUBLISH, GOOD)
    stored = db.execute("select payload, headers from outbox.message").fetchall()
    assert stored == [(b'{"b": 1,  "a": 10.10}', '{"traceparent": "00-1"}')]


def test_bytes_are_stored_as_they_are(db: Session) -> None:
    every_byte = bytes(range(256))
    query = "select outbox.publish_bytes('orders', 'scan', %s, 'application/octet-stream')"
    message_id = one(db, query, every_byte)
    row = db.execute("select id, payload, content_type from outbox.message").fetchall()
    assert row == [(message_id, every_byte, "application/octet-stream")]


@pytest.mark.parametrize("kind", ["text", "varchar", "json"])
def test_json_of_each_type_is_stored_as_it_was_written(db: Session, kind: str) -> None:
    typed = sql.SQL("select outbox.publish('c', 't', %s::{0}, headers => %s::{0})")
    json_text = '{"b": 1,  "a": 10.10, "b": "\\u0000"}'
    db.execute(typed.format(sql.Identifier(kind)), [json_text, GOOD["headers"]])
    stored = db.execute("select payload, headers from outbox.message").fetchall()
    assert stored == [(json_text.encode(), GOOD["headers"])]


def test_jsonb_is_stored_as_postgres_writes_it(db: Session) -> None:
    query = "select outbox.publish('c', 't', %s::jsonb, headers => %s)"
    db.execute(query, ['{"b": 1,  "a": 10.10}', GOOD["headers"]])
    stored = db.execute("select payload, headers from outbox.message").fetchall()
    assert stored == [(b'{"a": 10.10, "b": 1}', GOOD["headers"])]


def test_text_that_is_no_json_is_refused(db: Session) -> None:
    with pytest.raises(errors.InvalidTextRepresentation):
        db.execute("select outbox.publish('c', 't', %s::text)", ["{"])
    with pytest.raises(errors.InvalidTextRepresentation):
        db.execute("select outbox.publish('c', 't', '1', headers => %s::text)", ["{"])


def test_jsonb_is_published_with_the_publishers_rights_alone(db: Session, member: Member) -> None:
    query = "select outbox.publish('c', 't', '{}'::jsonb)"
    member("outbox_publisher").execute(query)
    with pytest.raises(errors.InsufficientPrivilege):
        member("outbox_reader").execute(query)
    with pytest.raises(errors.InsufficientPrivilege, match="the platform's own"):
        member("outbox_publisher").execute("select outbox.publish('outbox.c', 't', '{}'::jsonb)")


def test_untyped_parameters_resolve(db: Session) -> None:
    """Drivers send text as `unknown`; of the functions the one that takes text is chosen."""
    query = b"select outbox.publish($1, $2, $3, $4)"
    result = db.pgconn.exec_params(query, [b"orders", b"order.created", b"{}", b"order-1"])
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message


def test_messages_and_state_change_are_one_transaction(db: Session) -> None:
    with db.transaction(force_rollback=True):
        db.execute(PUBLISH, GOOD)
        db.execute(PUBLISH, GOOD | {"channel": "invoices"})
        assert one(db, "select count(*) from outbox.message") == 2
    assert one(db, "select count(*) from outbox.message") == 0


def test_xid_is_that_of_the_writing_transaction(db: Session) -> None:
    with db.transaction():
        db.execute(PUBLISH, GOOD)
        assert one(db, "select xid = pg_current_xact_id() from outbox.message")


def test_xid_of_a_savepoint_is_that_of_its_transaction(db: Session) -> None:
    with db.transaction():
        mine = one(db, "select pg_current_xact_id()::text")
        with db.transaction():
            db.execute(PUBLISH, GOOD)
    assert one(db, "select xid::text from outbox.message") == mine


def test_key_defaults_to_a_uuid_of_version_7(db: Session) -> None:
    db.execute(PUBLISH, GOOD | {"idempotency_key": None})
    db.execute("insert into outbox.message (channel, type, payload) values ('orders', 't', '')")
    keys = [key for (key,) in db.execute("select idempotency_key from outbox.message")]
    assert len(set(keys)) == 2
    for key in keys:
        version, variant = key.split("-")[2][0], key.split("-")[3][0]
        assert version == "7"
        assert variant in "89ab"


NAMES = "channel_is_a_topic_name_of_at_most_200_characters"
TYPES = "type_is_1_to_255_printable_characters"
KEYS = "idempotency_key_is_1_to_128_printable_characters_without_a_dot"
HEADERS = "headers_are_an_object_of_strings"


@pytest.mark.long
@pytest.mark.parametrize(
    ("field", "value", "constraint"),
    [
        ("channel", "", NAMES),
        ("channel", "orders created", NAMES),
        ("channel", "..", NAMES),
        ("channel", "ö", NAMES),
        ("channel", "c" * 201, NAMES),
        ("channel", "orders\n", NAMES),
        ("type", "", TYPES),
        ("type", "a\nb", TYPES),
        ("type", "t" * 256, TYPES),
        ("group_key", "k" * 1025, "group_key_is_at_most_1024_bytes"),
        ("group_key", "ö" * 513, "group_key_is_at_most_1024_bytes"),
        ("priority", 0, "priority_is_1_to_5"),
        ("priority", 6, "priority_is_1_to_5"),
        ("idempotency_key", "", KEYS),
        ("idempotency_key", "a.b", KEYS),
        ("idempotency_key", "a b", KEYS),
        ("idempotency_key", "k" * 129, KEYS),
        ("headers", "[]", HEADERS),
        ("headers", '{"a": 1}', HEADERS),
        ("headers", '{"a": null}', HEADERS),
        ("headers", '{"a b": "x"}', HEADERS),
        ("headers", '{"": "x"}', HEADERS),
        ("headers", '{"a": "x\\ny"}', HEADERS),
        ("headers", '{"CE_id": "x"}', HEADERS),
        ("headers", '{"ce-type": "x"}', HEADERS),
        ("headers", '{"webhook-id": "x"}', HEADERS),
        ("headers", '{"Idempotency-Key": "x"}', HEADERS),
        ("headers", '{"content-type": "x"}', HEADERS),
        ("payload", '"' + "x" * 983_040 + '"', "message_is_at_most_983040_bytes"),
    ],
)
def test_what_no_sink_could_take_is_refused_by_name(
    db: Session, field: str, value: object, constraint: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(PUBLISH, GOOD | {field: value})
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channel", "A.b_c-9"),
        ("channel", "c" * 200),
        ("type", "Zahlung bestätigt"),
        ("group_key", None),
        ("group_key", ""),
        ("group_key", "k" * 1024),
        ("priority", 1),
        ("priority", 5),
        ("idempotency_key", "k" * 128),
        ("headers", None),
        ("headers", "{}"),
        ("payload", '"' + "x" * 980_000 + '"'),
    ],
)
def test_what_fits_is_taken(db: Session, field: str, value: object) -> None:
    db.execute(PUBLISH, GOOD | {field: value})
    assert one(db, "select count(*) from outbox.message") == 1


NOT_ITS_OWN = [
    "Webhook-Id", "webhook_id", "WEBHOOK_SIGNATURE", "webhook.timestamp", "ce_id", "CE-Type",
    "ce", "content-type", "content_type", "Idempotency_Key", "replayed", "REPLAYED",
    "Connection", "keep-alive", "Keep_Alive", "Proxy-Connection", "proxy_authorization", "TE",
    "Trailer", "Transfer-Encoding", "transfer_encoding", "Transfer~Encoding", "Upgrade",
    "HTTP2-Settings", "Content-Length", "CONTENT_LENGTH", "content.length", "Expect",
    "Accept", "Accept-Encoding", "User-Agent", "Host", "HOST", "x-host", "Forwarded", "X-Forwarded",
    "X-Forwarded-For", "x_forwarded_host", "X-Forwarded_Proto", "Via", "X-Original-URL",
    "x_original_host", "X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override",
    "x_http_method_override", "X-Method-Override", "Authorization", "AUTHORIZATION", "Cookie",
    "cookie2", "Set-Cookie", "X-Real-IP", "x_real_ip", "X-Client-IP", "True-Client-IP",
    "Sec-Fetch-Site",
]  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [r'{"a": "b", "n": "\u0000"}', r'{"a": "\uD800"}', r'{"a": "x\udc00"}', r'{"a\u0000": "b"}'],
)
def test_headers_that_no_text_holds_are_refused_in_a_sentence(db: Session, headers: str) -> None:
    sentence = "headers hold a NUL .* or half a surrogate pair"
    with pytest.raises(errors.CheckViolation, match=sentence) as refused:
        db.execute(PUBLISH, GOOD | {"headers": headers})
    assert refused.value.diag.column_name == "headers"


@pytest.mark.parametrize(
    "headers", [r'{"a": "\ud83d\ude00"}', r'{"a": "\\u0000"}', r'{"a": "\\ud800"}']
)
def test_headers_with_escapes_of_text_are_taken(db: Session, headers: str) -> None:
    db.execute(PUBLISH, GOOD | {"headers": headers})


@pytest.mark.parametrize("name", NOT_ITS_OWN)
def test_headers_that_are_not_a_messages_own_are_refused_by_name(db: Session, name: str) -> None:
    for statement in (
        "select outbox.publish('orders', 't', '1', headers => %(headers)s)",
        "insert into outbox.message (channel, type, payload, headers)"
        " values ('orders', 't', '', %(headers)s)",
    ):
        with pytest.raises(errors.CheckViolation) as refused:
            db.execute(statement, {"headers": json.dumps({"tenant": "acme", name: "x"})})
        diag = refused.value.diag
        assert diag.message_primary == f'header "{name}": this name is not a message\'s own to set'
        assert (diag.column_name, diag.constraint_name) == ("headers", HEADERS)
    assert one(db, "select count(*) from outbox.message") == 0


@pytest.mark.parametrize(
    "name",
    ["traceparent", "tracestate", "baggage", "x-request-id", "X_Tenant", "hostname", "web-hook",
     "center", "x-hosted-by", "tenant.id", "content-language", "accept-language", "section"],
)  # fmt: skip
def test_headers_that_only_look_like_them_are_taken(db: Session, name: str) -> None:
    db.execute(PUBLISH, GOOD | {"headers": json.dumps({name: "x"})})


@pytest.mark.parametrize(
    "headers",
    [
        '{"x-a": "1", "x-a": "2"}',
        '{"x-a": "1", "X-A": "2"}',
        '{"x-a": "1", "x_a": "2"}',
        '{"x.a": "1", "tenant": "t", "X_A": "2"}',
    ],
)
def test_a_header_that_comes_twice_is_refused(db: Session, headers: str) -> None:
    with pytest.raises(errors.CheckViolation, match="it is there twice"):
        db.execute(PUBLISH, GOOD | {"headers": headers})


def test_a_headers_name_is_at_most_128_characters(db: Session) -> None:
    db.execute(PUBLISH, GOOD | {"headers": json.dumps({"n" * 128: "x"})})
    with pytest.raises(errors.CheckViolation, match="a token of 1 to 128 letters"):
        db.execute(PUBLISH, GOOD | {"headers": json.dumps({"n" * 129: "x"})})


PATTERNS = """
    select prosrc from pg_proc
    where oid in ('outbox.headers_fault'::regproc, 'outbox.headers_are_plain'::regproc)
    union all
    select pg_get_function_sqlbody('outbox.is_withheld'::regproc)
    union all
    select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'outbox.message'::regclass
"""


def test_what_a_publisher_waits_for_matches_no_pattern_that_counts(db: Session) -> None:
    """Counting to a hundred makes hundreds of states, and takes hundreds of microseconds."""
    patterns = " ".join(text for (text,) in db.execute(PATTERNS))
    assert re.findall(r"\{\d*,?\d{2,}\}", patterns) == []


def test_headers_are_at_most_a_hundred_and_16_kib(db: Session) -> None:
    def named(count: int, value: str = "") -> str:
        return json.dumps({f"h{number}": value for number in range(count)})

    padding = 16_384 - len(named(1))
    for good in (named(100), named(1, "x" * padding)):
        db.execute(PUBLISH, GOOD | {"headers": good})
    for bad, why in (
        (named(101), "headers are more than 100"),
        (named(1, "x" * (padding + 1)), "headers are larger than 16384 bytes"),
        (named(60_000), "headers are larger than 16384 bytes"),
        # Bytes and not characters.
        (f'{{"h": "{"ö" * 8_190}"}}', "headers are larger than 16384 bytes"),
    ):
        with pytest.raises(errors.CheckViolation) as refused:
            db.execute(PUBLISH, GOOD | {"headers": bad})
        assert refused.value.diag.message_primary == why


def test_a_publishers_insert_is_told_which_header_is_refused(member: Member) -> None:
    statement = (
        "insert into outbox.message (channel, type, payload, headers)"
        " values ('orders', 't', '', %s)"
    )
    publisher = member("outbox_publisher")
    publisher.execute(statement, ['{"tenant": "acme"}'])
    with pytest.raises(errors.CheckViolation, match='header "webhook_id"'):
        publisher.execute(statement, ['{"webhook_id": "x"}'])


def test_malformed_json_is_refused(db: Session) -> None:
    with pytest.raises(errors.InvalidTextRepresentation):
        db.execute(PUBLISH, GOOD | {"payload": "{"})


def test_content_type_is_checked(db: Session) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute("select outbox.publish_bytes('orders', 't', '', '')")
    assert refused.value.diag.constraint_name == "content_type_is_1_to_255_printable_characters"


@pytest.mark.parametrize("column", ["id", "xid", "created_at"])
def test_a_publisher_can_not_forge_what_decides_visibility(member: Member, column: str) -> None:
    values = {"id": "1", "xid": "3", "created_at": "2020-01-01"}
    columns = psycopg.sql.Identifier(column)
    statement = psycopg.sql.SQL(
        "insert into outbox.message (channel, type, payload, {}) overriding system value"
        " values ('orders', 't', '', {})"
    ).format(columns, psycopg.sql.Literal(values[column]))
    with pytest.raises(errors.InsufficientPrivilege):
        member("outbox_publisher").execute(statement)


def test_a_hostile_search_path_changes_nothing(db: Session, member: Member) -> None:
    """publish has its owner's rights: what it calls must not come from the caller's schema."""
    db.execute(
        "create schema hostile; grant usage on schema hostile to public;"
        " create function hostile.convert_to(text, name) returns bytea"
        " language sql as $$ select 'stolen'::bytea $$"
    )
    publisher = member("outbox_publisher")
    publisher.execute("set search_path = hostile, pg_catalog")
    publisher.execute(PUBLISH, GOOD)
    assert one(db, "select payload from outbox.message") == GOOD["payload"].encode()
