"""Somebody who is signed in to the console, without a browser."""

from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any

import httpx2

from tests.service.api import Platform
from tests.service.console.reading import Page, page

# What a browser says of a form of the console's own page.
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
# Where its pages are, unless a path says more.
HOME = "https://testserver"
FORM = "application/x-www-form-urlencoded"


class Visitor:
    """The cookies and forms of a browser of its own; `key` as Platform.key gives it."""

    def __init__(self, platform: Platform, key: dict[str, str] | None = None) -> None:
        self.cookies: dict[str, str] = {}
        self._http = platform.http
        if key is not None:
            answer = self.sign_in(key)
            assert answer.status_code == 303, answer.text

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> httpx2.Response:
        """One request with the cookies that there are; what is set is kept."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Cookie": cookies, "Content-Type": FORM, **(headers or {})}
        if path.startswith("/"):
            path = HOME + path
        # All visitors share one client, which keeps no cookie.
        answer = self._http.request(method, path, headers=sent, data=fields, follow_redirects=False)
        self._http.cookies.clear()
        for header in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        return self.ask("GET", path, headers)

    def sign_in(
        self,
        key: dict[str, str],
        then: str = "/console",
        path: str = "/console/sign-in",
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """What the form of signing in is answered."""
        written = key["Authorization"].removeprefix("Bearer ")
        return self.ask("POST", path, headers or OWN_PAGE, {"key": written, "then": then})

    def see(self, path: str, status: int = 200) -> Page:
        """A page."""
        return page(self.get(path), status)

    def token(self) -> str:
        """That of the forms of this session, as a page has it."""
        found = _Fields(self.get("/console/audit").text).values.get("token")
        assert found is not None
        return found

    def post(self, path: str, **fields: Any) -> httpx2.Response:
        """The form of a page, sent as a browser sends it."""
        return self.ask("POST", path, OWN_PAGE, {"token": self.token(), **fields})

    def step(self, path: str, **fields: Any) -> Page:
        """A step that must be taken, and the page that it leads to."""
        answer = self.post(path, **fields)
        assert answer.status_code == 303, answer.text
        return self.see(answer.headers["location"])


class _Fields(HTMLParser):
    """The hidden fields of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.values[given.get("name") or ""] = given.get("value") or ""
