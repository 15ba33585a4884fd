"""Signing in to the console, what a session is good for, and when it ends."""

from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.web.access.keys import SCOPES
from tests.service.api import Platform
from tests.service.console.reading import page
from tests.service.console.visiting import OWN_PAGE, Visitor

PAGES = ("/console", "/console/audit")
THIS_MACHINE = ("http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080")


def test_without_a_session_every_page_leads_to_signing_in_and_back(console: Platform) -> None:
    visitor = Visitor(console)
    for path in PAGES:
        answer = visitor.get(f"{path}?a=b")
        assert answer.status_code == 303
        address = answer.headers["location"]
        assert address == f"/console/sign-in?then={path.replace('/', '%2F')}%3Fa%3Db"
        # What looks again by itself is led away as a whole.
        polled = visitor.get(path, headers={"HX-Request": "true"})
        assert (polled.status_code, polled.headers["hx-redirect"][:16]) == (204, "/console/sign-in")
    answer = visitor.sign_in(console.key("read"), "/console/audit?a=b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/audit?a=b")


@pytest.mark.parametrize(
    "then",
    [
        "//evil.example",
        "//[",
        "https://evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "x",
        "/é",
        "/a\nb",
    ],
)
def test_signing_in_leads_to_no_other_site(console: Platform, then: str) -> None:
    answer = Visitor(console).sign_in(console.key("read"), then)
    assert answer.headers["location"] == "/console"


def test_the_cookie_is_the_browsers_alone_and_goes_nowhere_else(console: Platform) -> None:
    for base in THIS_MACHINE:
        plain = sign_in(console, base, {"Origin": base}).headers["set-cookie"]
        assert plain.startswith("console=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} < set(plain.split("; "))
        assert "Secure" not in plain
    for base, headers in (
        ("https://testserver", OWN_PAGE),
        # A proxy on this machine that is named.
        ("https://127.0.0.1", {"Origin": "https://127.0.0.1", **OWN_PAGE}),
        # Proxies that end TLS, and that nobody named.
        ("http://testserver", {"Origin": "https://testserver", **OWN_PAGE}),
        ("http://testserver:443", {"Origin": "https://testserver", **OWN_PAGE}),
        ("http://testserver", OWN_PAGE),
    ):
        by_tls = sign_in(console, base, headers).headers["set-cookie"]
        assert by_tls.startswith("__Host-console=")
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} < set(by_tls.split("; "))
        assert "Domain" not in by_tls


@pytest.mark.parametrize("base", ["https://testserver", "http://testserver", "https://127.0.0.1"])
def test_a_cookie_that_others_may_set_opens_nothing_but_on_this_machine(
    console: Platform, base: str
) -> None:
    at_home = THIS_MACHINE[0]
    visitor = Visitor(console)
    visitor.sign_in(console.key("read"), path=f"{at_home}/console/sign-in")
    assert visitor.get(f"{at_home}/console").status_code == 200
    assert visitor.get(f"{base}/console").status_code == 303


@pytest.mark.parametrize(
    ("base", "origin", "told"),
    [
        # Without TLS from elsewhere: no browser would keep the cookie.
        ("http://testserver", "http://testserver", "Open it by https"),
        # A page that came without TLS, at a proxy that ends it.
        ("https://testserver", "http://testserver", "Open it by https"),
        # A proxy that ends TLS and hides from the service which name was called.
        ("http://127.0.0.1", "https://127.0.0.1", "SERVICE_FORWARDED_ALLOW_IPS"),
    ],
)
def test_where_no_cookie_would_be_safe_signing_in_says_what_to_set(
    console: Platform, base: str, origin: str, told: str
) -> None:
    answer = sign_in(console, base, {"Origin": origin})
    assert told in page(answer, 403).text
    assert "set-cookie" not in answer.headers


def sign_in(console: Platform, base: str, headers: dict[str, str]) -> httpx2.Response:
    return Visitor(console).sign_in(
        console.key("read"), path=f"{base}/console/sign-in", headers=headers
    )


@pytest.mark.parametrize("key", ["", "ok_short", f"ok_{'A' * 43}", "x" * 60_000])
def test_what_is_no_key_opens_nothing(console: Platform, key: str) -> None:
    visitor = Visitor(console)
    answer = visitor.sign_in({"Authorization": key})
    assert "This key is unknown" in page(answer, 401).text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("scope", [one for one in SCOPES if one != "read"])
def test_a_key_that_cannot_read_is_told_so(console: Platform, scope: Any) -> None:
    answer = Visitor(console).sign_in(console.key(scope))
    assert "lacks the scope read" in page(answer, 403).text
    assert "set-cookie" not in answer.headers


def test_a_session_ends_with_its_key(console: Platform) -> None:
    end: dict[str, str] = {
        "revoked": "update outbox.api_key set revoked_at = now() where id = %s",
        "expired": "update outbox.api_key set created_at = now() - interval '2 h',"
        " expires_at = now() - interval '1 h' where id = %s",
    }
    for statement in end.values():
        visitor = Visitor(console, console.key("read"))
        visitor.see("/console")
        console.database.execute(statement, [newest_key(console)])
        assert visitor.get("/console").status_code == 303


def newest_key(platform: Platform) -> int:
    row = platform.database.execute("select max(id) from outbox.api_key").fetchone()
    assert row is not None
    return int(row[0])


def test_a_session_ends_when_its_time_is_over(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    lasts = "select expires_at - now() from outbox.console_session where api_key_id = %s"
    row = console.database.execute(lasts, [newest_key(console)]).fetchone()
    assert row is not None
    assert 11.9 < row[0].total_seconds() / 3600 <= 12
    console.database.execute(
        "update outbox.console_session set expires_at = now() where api_key_id = %s",
        [newest_key(console)],
    )
    assert visitor.get("/console").status_code == 303


def test_signing_out_ends_it_for_whoever_else_has_the_token(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    stolen = dict(visitor.cookies)
    answer = visitor.post("/console/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    assert not visitor.cookies
    thief = Visitor(console)
    thief.cookies.update(stolen)
    assert thief.get("/console").status_code == 303


def test_a_key_has_twenty_sessions_and_the_oldest_ends_for_one_more(console: Platform) -> None:
    key = console.key("read")
    visitors = [Visitor(console, key) for _ in range(21)]
    statuses = [one.get("/console/sign-in").status_code for one in visitors]
    # Who is signed in is led on.
    assert statuses == [200, *[303] * 20]


def test_the_database_has_no_token_and_the_service_cannot_read_sessions(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    token = visitor.cookies["__Host-console"]
    rows = console.database.execute("select s::text from outbox.console_session as s").fetchall()
    assert rows
    assert not [row for row in rows if token in row[0]]
    rights = console.database.execute(
        """
        select rolname, has_any_column_privilege(oid, 'outbox.console_session', 'select'),
               has_any_column_privilege(oid, 'outbox.audit', 'select'),
               has_any_column_privilege(oid, 'outbox.audit', 'update')
                   or has_table_privilege(oid, 'outbox.audit', 'delete, truncate')
        from pg_roles where rolname like 'outbox\\_%' order by rolname
        """
    ).fetchall()
    assert ("outbox_service", False, True, False) in rights
    assert ("outbox_reader", False, True, False) in rights
    others = [row for row in rights if row[0] not in ("outbox_service", "outbox_reader")]
    assert others
    assert not any(any(row[1:]) for row in others)


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        (OWN_PAGE, {}, 303),
        ({"Origin": "https://testserver"}, {}, 303),
        ({"Origin": "http://testserver"}, {}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Sec-Fetch-Site": "none"}, {}, 403),
        ({"Origin": "https://evil.example", **OWN_PAGE}, {}, 403),
        ({"Origin": "null", **OWN_PAGE}, {}, 403),
        ({}, {}, 403),
        (OWN_PAGE, {"token": ""}, 403),
        (OWN_PAGE, {"token": "0" * 64}, 403),
        (OWN_PAGE, {"token": "é"}, 403),
    ],
)
def test_a_step_is_taken_for_a_page_of_this_session_alone(
    console: Platform, headers: dict[str, str], fields: dict[str, str], status: int
) -> None:
    visitor = Visitor(console, console.key("read"))
    data = {"token": visitor.token(), **fields}
    answer = visitor.ask("POST", "/console/sign-out", headers, data)
    assert answer.status_code == status
    assert visitor.get("/console").status_code == (303 if status == 303 else 200)


def test_the_token_of_another_session_is_none(console: Platform) -> None:
    one, other = (Visitor(console, console.key("read")) for _ in range(2))
    answer = one.ask("POST", "/console/sign-out", OWN_PAGE, {"token": other.token()})
    assert "not this session's" in page(answer, 403).text


def test_pages_let_nothing_of_others_run(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    for path in (*PAGES, "/console/nope/../audit", "/catalogue", "/console/audit?limit=x"):
        headers = visitor.get(path).headers
        policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert (policy["form-action"], policy["frame-ancestors"]) == ("'self'", "'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_what_the_address_says_became_of_a_step_is_shown_only_if_it_is_sealed(
    console: Platform,
) -> None:
    visitor = Visitor(console, console.key("read"))
    for seal in ("", "0" * 64, "é", visitor.token()):
        shown = visitor.see(f"/console/audit?notice=Call+0190+1234&seal={seal}")
        assert "0190" not in shown.text


def test_who_is_signed_in_sees_the_catalogue_too(console: Platform) -> None:
    visitor = Visitor(console, console.key("read"))
    shown = visitor.see("/catalogue")
    assert {"Overview", "Subscriptions", "Dead letters", "Catalogue", "Audit"} <= set(shown.links)
    assert Visitor(console).get("/catalogue").status_code == 401


def test_where_it_is_off_there_is_no_console(console: Platform) -> None:
    app = create_app(Settings(database_url=console.service_url, pool_size=4))
    with TestClient(app, raise_server_exceptions=False) as http:
        nowhere = http.get("/nowhere")
        for path in (*PAGES, "/console/sign-in"):
            for answer in (http.get(path), http.post(path, headers=OWN_PAGE)):
                assert (answer.status_code, answer.content) == (404, nowhere.content)
        # A cookie opens nothing either.
        visitor = Visitor(console, console.key("read"))
        cookie = {"Cookie": f"__Host-console={visitor.cookies['__Host-console']}"}
        assert http.get("/catalogue", headers=cookie).status_code == 401
