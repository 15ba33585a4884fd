"""A page as its reader has it: its text, its links, its attributes."""

from html.parser import HTMLParser

import httpx2


class Page(HTMLParser):
    """`text` without tags and with single blanks; `links` by what they say.

    `headings` are where the links in headings of lists lead, in their order.
    """

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.links: dict[str, str] = {}
        self.headings: list[str] = []
        self._parts: list[str] = []
        self._link: tuple[str, int] | None = None
        self._is_heading = False
        self.feed(markup)
        self.text = " ".join(" ".join(self._parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "h2":
            self._is_heading = True
        if tag == "a":
            if self._is_heading:
                self.headings.append(dict(attrs).get("href") or "")
            self._link = dict(attrs).get("href") or "", len(self._parts)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            address, begin = self._link
            said = " ".join("".join(self._parts[begin:]).split())
            self.links[said] = address
            self._link = None
        if tag == "h2":
            self._is_heading = False

    def handle_data(self, data: str) -> None:
        self._parts.append(data)


def page(answer: httpx2.Response, status: int = 200) -> Page:
    """Of an answer that must be a page with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)
